/** `npm run prove`: the prover stands above the runner, which therefore finds it by its path. */
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { checkout } from './checkout.js'

export async function prove(args: string[]): Promise<number> {
  const prover = pathToFileURL(join(checkout, 'packages/prover/dist/src/main.js')).href
  const { prove: run } = (await import(prover)) as { prove(args: string[]): Promise<number> }
  return run(args)
}
