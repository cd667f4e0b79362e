/** The apps as processes of their own, for tests that kill them. */
import { type ChildProcess, spawn } from 'node:child_process'
import { PortPicker } from '@tidings/infra'
import { until } from './until.js'

const READY_MS = 60_000

export interface AppProcess {
  instance: string
  opsPort: number
  /** Port of the API or of the WebSockets, for those who have one. */
  port: number
  readonly child: ChildProcess
  kill(signal: NodeJS.Signals): Promise<void>
  /** The same process anew: same name, same ports. */
  restart(): Promise<void>
  /** SIGTERM, and the exit status. */
  stop(): Promise<number | null>
}

/** One for all: none of them is given out twice, and outgoing connections take none while a process is down. */
const ports = new PortPicker()

/** Starts `apps/<app>` with these settings and waits until it is ready. */
export async function startProcess(app: string, instance: string, env: Record<string, string>): Promise<AppProcess> {
  const main = new URL(`../../../../apps/${app}/dist/src/main.js`, import.meta.url).pathname
  const opsPort = await ports.any()
  const port = await ports.any()
  const settings = {
    ...env,
    TIDINGS_INSTANCE: instance,
    TIDINGS_OPS_PORT: String(opsPort),
    TIDINGS_API_PORT: String(port),
    TIDINGS_CONNECT_PORT: String(port),
  }
  let child = launch()

  function launch(): ChildProcess {
    return spawn(process.execPath, ['--enable-source-maps', main], {
      env: { PATH: process.env.PATH, ...settings },
      stdio: ['ignore', process.env.TEST_LOG ? 'inherit' : 'ignore', 'inherit'],
    })
  }

  async function ready(): Promise<void> {
    await until(
      `${instance} is ready`,
      async () => {
        if (child.exitCode !== null) throw new Error(`${instance} ended with ${child.exitCode}`)
        try {
          return (await fetch(`http://127.0.0.1:${opsPort}/readyz`)).ok
        } catch (error) {
          if (error instanceof TypeError) return false
          throw error
        }
      },
      READY_MS,
    )
  }

  async function kill(signal: NodeJS.Signals): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return
    const gone = new Promise((resolve) => child.once('exit', resolve))
    child.kill(signal)
    if (signal === 'SIGKILL' || signal === 'SIGTERM') await gone
  }

  await ready()
  return {
    instance,
    opsPort,
    port,
    get child() {
      return child
    },
    kill,
    async restart() {
      await kill('SIGKILL')
      child = launch()
      await ready()
    },
    async stop() {
      await kill('SIGTERM')
      return child.exitCode
    },
  }
}
