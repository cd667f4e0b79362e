/** The client processes of the storm, seen from the generator. */
import { type ChildProcess, fork } from 'node:child_process'
import { Failure } from '../failure.js'
import type { Latency } from './figures.js'
import type { Order } from './order.js'

/** What one process may hold of sockets, well below the usual limit of open files: each node has them too, and files of its own. */
export const PER_PROCESS = 17_000

export interface StormShare {
  /** From 1. */
  number: number
  from: number
  count: number
  websockets: readonly string[]
  jwtSecret: string
}

export type StormCommand =
  | { do: 'open'; share: StormShare }
  | { do: 'drop' }
  | { do: 'return'; spreadMs: number; longestMs: number }

export interface StormAnswer {
  faults: string[]
  /** Attempts to come back that failed, by reason. */
  inVain?: Record<string, number>
  /** From a device's first attempt until it has everything. */
  back?: Latency
}

/** Processes that are needed for so many sockets. */
export const processesFor = (sockets: number): number => Math.ceil(sockets / PER_PROCESS)

export class Fleet {
  readonly #children: ChildProcess[]

  constructor(
    private readonly order: Order,
    private readonly connections: number,
  ) {
    const program = new URL('./storm-client.js', import.meta.url)
    this.#children = Array.from({ length: processesFor(connections) }, () => fork(program))
  }

  get processes(): number {
    return this.#children.length
  }

  get pids(): number[] {
    return this.#children.flatMap(({ pid }) => pid ?? [])
  }

  /** Connects all devices. */
  open(): Promise<StormAnswer[]> {
    const { websockets, jwtSecret } = this.order
    const each = Math.ceil(this.connections / this.processes)
    return this.#all((i) => {
      const from = i * each
      const count = Math.min(each, this.connections - from)
      return { do: 'open', share: { number: i + 1, from, count, websockets, jwtSecret } }
    })
  }

  /** Breaks every connection. */
  drop(): Promise<StormAnswer[]> {
    return this.#all(() => ({ do: 'drop' }))
  }

  /** All come back. Resolves when each has caught up, or it is too late. */
  return(spreadMs: number, longestMs: number): Promise<StormAnswer[]> {
    return this.#all(() => ({ do: 'return', spreadMs, longestMs }))
  }

  close(): void {
    for (const child of this.#children) child.kill('SIGKILL')
  }

  #all(commandFor: (i: number) => StormCommand): Promise<StormAnswer[]> {
    return Promise.all(
      this.#children.map(
        (child, i) =>
          new Promise<StormAnswer>((resolve, reject) => {
            const died = (): void => reject(new Failure('A client process of the storm has ended.'))
            child.once('exit', died)
            child.once('message', (answer) => {
              child.off('exit', died)
              resolve(answer as StormAnswer)
            })
            child.send(commandFor(i))
          }),
      ),
    )
  }
}
