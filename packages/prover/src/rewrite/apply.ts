/** Puts changes into texts. It runs in the changed processes too, so it needs nothing but Node. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

export interface Rewrite {
  /** The compiled module, as a file URL: `appFile('apps/task/dist/src/push.js')`. */
  module: string
  /** Text that stands there exactly once. */
  find: string
  replace: string
}

/** URL of a module to its whole new text. */
export type Sources = Record<string, string>

/** @throws Error when a place is not there exactly once: a change that does not happen proves nothing */
export function applyRewrites(rewrites: readonly Rewrite[]): Sources {
  const sources: Sources = {}
  for (const { module, find, replace } of rewrites) {
    const text = sources[module] ?? readFileSync(fileURLToPath(module), 'utf8')
    const parts = text.split(find)
    if (parts.length !== 2) throw new Error(`${module} has ${parts.length - 1} places of: ${find}`)
    sources[module] = parts.join(replace)
  }
  return sources
}
