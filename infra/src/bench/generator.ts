/** The load generator's process: reads its order from its standard input, runs one suite, and prints the figures as JSON. */
import { text } from 'node:stream/consumers'
import { Failure } from '../failure.js'
import { backlog } from './backlog.js'
import { coldCatchUp } from './cold.js'
import { fanout } from './fanout.js'
import type { Figures } from './figures.js'
import { idle } from './idle.js'
import { batch, direct, latency } from './loads.js'
import { micro } from './micro.js'
import type { MicroOrder, Order, RoutesOrder, ServerProcess } from './order.js'
import { overload } from './overload.js'
import { point } from './point.js'
import { routes } from './routes.js'
import { soak } from './soak.js'
import { wsSend } from './speaking.js'
import { storm } from './storm.js'

async function run(order: Order | MicroOrder | RoutesOrder): Promise<Figures> {
  if (order.suite === 'micro') return micro(order.scale)
  if (order.suite === 'routes') return { suite: order.suite, loads: [], ...(await routes(order, askFor)) }
  if (order.point) return point(order)
  const { suite } = order
  switch (suite) {
    case 'idle':
      return { suite, loads: [], ...(await idle(order)) }
    case 'fanout':
      return { suite, ...(await fanout(order)) }
    case 'overload':
      return { suite, loads: [], ...(await overload(order)) }
    case 'backlog':
      return { suite, loads: [], ...(await backlog(order, askFor)) }
    case 'cold-catchup':
      return { suite, loads: [], ...(await coldCatchUp(order)) }
    case 'storm':
      return { suite, loads: [], ...(await storm(order)) }
    case 'soak':
      return { suite, loads: [], ...(await soak(order)) }
    default:
      return { suite, ...(await { direct, batch, latency, 'ws-send': wsSend }[suite](order)) }
  }
}

/** Asks the bench, which keeps the processes, for the one that the suite needs started: a worker of the group persist, or etcd again. */
function askFor(): Promise<ServerProcess> {
  return new Promise((resolve) => {
    process.once('message', (started) => {
      process.disconnect()
      resolve(started as ServerProcess)
    })
    process.send!('start it')
  })
}

try {
  const order = JSON.parse(await text(process.stdin)) as Order | MicroOrder | RoutesOrder
  process.stdout.write(`${JSON.stringify(await run(order))}\n`)
} catch (error) {
  console.error(error instanceof Failure ? error.message : error)
  process.exitCode = 1
}
if (process.connected) process.disconnect()
