/** The apps as processes of their own, for tests that kill them. */
import { type ChildProcess, spawn } from 'node:child_process'
import type { AddressInfo } from 'node:net'
import { createServer } from 'node:net'
import { until } from './until.js'

const READY_MS = 20_000

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

export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** Starts `apps/<app>` with these settings and waits until it is ready. */
export async function startProcess(app: string, instance: string, env: Record<string, string>): Promise<AppProcess> {
  const main = new URL(`../../../../apps/${app}/dist/src/main.js`, import.meta.url).pathname
  const [opsPort, port] = await Promise.all([freePort(), freePort()])
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
