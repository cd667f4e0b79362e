/**
 * Changes of an app's compiled code for one process, made while it is loaded: exact points of death, and planted bugs, with no hook in
 * the code that is shipped.
 */
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { checkout } from '@tidings/infra'
import { applyRewrites, type Rewrite } from './apply.js'

export { applyRewrites, type Rewrite } from './apply.js'

/** @param path of a compiled module, from the root of the checkout */
export const moduleUrl = (path: string): string => pathToFileURL(join(checkout, path)).href

/** Arguments for node that load an app with these changes. @throws Error when a place is not there */
export function rewriteArgs(rewrites: readonly Rewrite[]): string[] {
  if (rewrites.length === 0) return []
  // Fails here, where somebody sees it, before it fails in the process.
  applyRewrites(rewrites)
  const register = new URL('./register.js', import.meta.url)
  register.searchParams.set('rewrites', JSON.stringify(rewrites))
  return ['--import', register.href]
}
