/** The load generator's process: reads its order from a file, runs one suite, and prints the figures as JSON. */
import { readFileSync } from 'node:fs'
import { Failure } from '../failure.js'
import { idle } from './idle.js'
import { batch, direct, latency } from './loads.js'
import type { Figures, Order } from './order.js'

async function run(order: Order): Promise<Figures> {
  const { suite } = order
  if (suite === 'idle') return { suite, loads: [], ...(await idle(order)) }
  const outcome = await { direct, batch, latency }[suite](order)
  return { suite, ...outcome }
}

try {
  const order = JSON.parse(readFileSync(process.argv[2]!, 'utf8')) as Order
  process.stdout.write(`${JSON.stringify(await run(order))}\n`)
} catch (error) {
  console.error(error instanceof Failure ? error.message : error)
  process.exitCode = 1
}
