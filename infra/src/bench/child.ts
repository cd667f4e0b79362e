/** The load generator as seen from the bench: a process of its own that is given an order and answers with figures. */
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { Failure } from '../failure.js'
import type { Figures } from './figures.js'
import type { MicroOrder, Order, RoutesOrder } from './order.js'

export interface ChildOptions {
  interrupted: AbortSignal
  /** One that hangs is ended after this time. */
  longestMs: number
  /** Told when the generator asks for what only we can do; what it resolves with is the answer. */
  wanted?: () => Promise<unknown>
  say: (line: string) => void
}

/** Runs one suite. @throws Failure when it ends badly */
export async function runGenerator(order: Order | MicroOrder | RoutesOrder, options: ChildOptions): Promise<Figures> {
  const { interrupted, longestMs, wanted, say } = options
  const program = fileURLToPath(new URL('./generator.js', import.meta.url))
  const child = spawn(process.execPath, [program], {
    stdio: ['pipe', 'pipe', 'inherit', 'ipc'],
    signal: AbortSignal.any([interrupted, AbortSignal.timeout(longestMs)]),
    killSignal: 'SIGKILL',
  })
  // Not on the command line, which is public: the order holds the secret. One that ends before it has read says so by its status.
  child.stdin!.on('error', () => undefined)
  child.stdin!.end(JSON.stringify(order))
  child.once('message', () => {
    wanted?.().then(
      (answer) => child.send(answer as object),
      (error: unknown) => {
        say(`${order.suite} did not get what it needs: ${String(error)}`)
        child.kill('SIGKILL')
      },
    )
  })
  let output = ''
  child.stdout!.setEncoding('utf8').on('data', (chunk: string) => {
    output += chunk
  })
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', (cause) =>
      reject(new Failure(`${order.suite} was ended: it took too long, or was interrupted.`, { cause })),
    )
    child.once('close', resolve)
  })
  if (code !== 0) throw new Failure(`${order.suite} has failed, see above.`)
  return JSON.parse(output) as Figures
}
