/** One app as a process of its own, tied to the prover: it ends when the prover ends, however that happens. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { checkout, end, Failure, launch, type Running, signal } from '@tidings/infra'
import { type Rewrite, rewriteArgs } from '../rewrite/rewrite.js'
import { until } from '../until.js'

export type AppName = 'api' | 'logic' | 'task' | 'connect'

const READY_MS = 40_000
const STOP_MS = 8_000
const PAGE_BYTES = 4_096

export interface AppSpec {
  app: AppName
  instance: string
  /** Of the API or of the WebSockets. */
  port: number
  opsPort: number
  rpcPort: number
  env: Record<string, string>
  log: string
  /** Changes of its compiled code, for this process alone. */
  rewrites: readonly Rewrite[]
}

export interface AppProcess {
  readonly app: AppName
  readonly instance: string
  readonly port: number
  readonly opsPort: number
  readonly log: string
  /** The changes it runs with. */
  readonly rewrites: readonly Rewrite[]
  readonly pid: number
  /** The signal or status that ended it; undefined while it runs. */
  readonly ended: string | undefined
  signal(name: NodeJS.Signals): void
  /** Resolves when it is gone. */
  kill(): Promise<void>
  /** SIGTERM. @returns how it ended */
  stop(): Promise<string>
  /** Starts it anew after an end, with the same name and ports, and the same changes unless others are given. Resolves when it is ready. */
  start(rewrites?: readonly Rewrite[]): Promise<void>
  metrics(): Promise<string>
  ready(): Promise<boolean>
}

/** Starts it and waits until it is ready. @throws Failure with its last words */
export async function startApp(spec: AppSpec): Promise<AppProcess> {
  const { app, instance, port, opsPort, log } = spec
  const ops = `http://127.0.0.1:${opsPort}`
  const settings = {
    ...spec.env,
    TIDINGS_INSTANCE: instance,
    TIDINGS_OPS_PORT: String(opsPort),
    TIDINGS_RPC_PORT: String(spec.rpcPort),
    TIDINGS_API_PORT: String(port),
    TIDINGS_CONNECT_PORT: String(port),
  }
  let rewrites = spec.rewrites
  let running: Running
  let ended: string | undefined

  async function run(): Promise<void> {
    const main = join(checkout, 'apps', app, 'dist/src/main.js')
    const args = [...rewriteArgs(rewrites), '--enable-source-maps', main]
    ended = undefined
    const mine = await launch({ file: process.execPath, args, env: settings, cwd: checkout }, log, { tied: true })
    running = mine
    mine.exited.then(({ code, signal: name }) => {
      if (running === mine) ended = name ?? `status ${code}`
    })
    await until(
      `${instance} is ready`,
      async () => {
        if (ended !== undefined)
          throw new Failure(`${instance} ended with ${ended}:\n  ${mine.lastLines(5).join('\n  ')}`)
        return ready()
      },
      READY_MS,
    )
  }

  async function ready(): Promise<boolean> {
    try {
      return (await fetch(`${ops}/readyz`, { signal: AbortSignal.timeout(2_000) })).ok
    } catch {
      // Not there yet, or not answering: not ready either way.
      return false
    }
  }

  await run()
  return {
    app,
    instance,
    port,
    opsPort,
    log,
    get rewrites() {
      return rewrites
    },
    get pid() {
      return running.who.pid
    },
    get ended() {
      return ended
    },
    signal: (name) => void signal(running.who, name),
    async kill() {
      await end(running.who, 5_000, 'SIGKILL')
      await running.exited
    },
    async stop() {
      await end(running.who, STOP_MS)
      const { code, signal: name } = await running.exited
      return name ?? `status ${code}`
    },
    start(changed = rewrites) {
      rewrites = changed
      return run()
    },
    metrics: async () => (await fetch(`${ops}/metrics`, { signal: AbortSignal.timeout(3_000) })).text(),
    ready,
  }
}

/** Bytes of memory that a process holds; undefined where it cannot be told, or when it is gone. */
export function residentBytes({ pid }: AppProcess): number | undefined {
  try {
    const [, pages = '0'] = readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')
    return Number(pages) * PAGE_BYTES
  } catch {
    // Gone meanwhile, or a system without /proc.
    return undefined
  }
}

/** What a process has written. */
export const logOf = (app: AppProcess): string => readFileSync(app.log, 'utf8')
