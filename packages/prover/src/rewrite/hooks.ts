/** Module customization hooks (node:module, `register`): the named modules are loaded with another text. */
import type { LoadHook } from 'node:module'
import type { Sources } from './apply.js'

let sources: Sources = {}

export function initialize(given: Sources): void {
  sources = given
}

export const load: LoadHook = async (url, context, nextLoad) => {
  const source = sources[url]
  if (source === undefined) return nextLoad(url, context)
  return { format: 'module', source, shortCircuit: true }
}
