/** `npm run dev`: the same instance, with the apps started again whenever their code changes. */
import { join } from 'node:path'
import { checkout } from './checkout.js'
import { writeJson } from './files.js'
import { APPS, appEnvironment, checkReady, opsUrl } from './plan.js'
import { run, type Stage } from './start.js'

/** The first build of everything, then four apps, on two cores. */
const READY_MS = 180_000

/** Stores and migration as in `npm start`; the compiler in watch mode; the apps under `turbo run dev`. */
export function dev(): Promise<number> {
  return run(async ({ data, config, plans, supervisor }: Stage) => {
    // One process of each app: a second node of one kind has nothing to show while code changes.
    const first = APPS.map((app) => plans.find((plan) => plan.app === app)!)
    // Each app finds its own part of the environment here (see infra/dev.mjs): turbo gives all of them the same.
    writeJson(data.dev, Object.fromEntries(first.map((plan) => [plan.app, plan.env])))
    const env = {
      ...appEnvironment(process.env),
      NODE_ENV: 'development',
      TURBO_TELEMETRY_DISABLED: '1',
      DO_NOT_TRACK: '1',
    }
    const tool = (name: string, args: string[]) => ({
      name,
      instance: name,
      log: join(data.logs, `${name}.log`),
      visible: true,
      command: () => ({ file: process.execPath, args, env, cwd: checkout }),
    })
    await supervisor.start({
      ...tool('tsc', ['node_modules/typescript/bin/tsc', '-b', '--watch', '--preserveWatchOutput']),
      ports: {},
      readyMs: READY_MS,
      probe: async () => undefined,
    })
    await supervisor.start({
      ...tool('turbo', ['node_modules/turbo/bin/turbo', 'run', 'dev', '--ui=stream', '--no-daemon']),
      ports: Object.fromEntries(
        first.flatMap((plan) => Object.entries(plan.ports).map(([name, port]) => [`${plan.app}.${name}`, port])),
      ),
      readyMs: READY_MS,
      probe: async () => {
        await Promise.all(first.map((plan) => checkReady(opsUrl(config.TIDINGS_OPS_HOST, plan.ports.ops!))))
      },
    })
  })
}
