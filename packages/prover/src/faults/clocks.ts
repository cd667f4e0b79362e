/** Row 38: clocks that are wrong by an hour, of processes while they run or from their start, and of the ids in the streams. */
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { SNOWFLAKE_EPOCH_MS } from '@tidings/protocol'
import type { AppName, AppProcess } from '../cluster/app.js'
import { moduleUrl, type Rewrite } from '../rewrite/rewrite.js'
import { pause, within } from '../until.js'
import type { Fault, FaultContext } from './fault.js'
import { revoke } from './sessions.js'

const HOUR_MS = 3_600_000
const LOOK_MS = 50
const MAIN = 'await runMain(async () => {'

const clockOf = (folder: string, instance: string): string => join(folder, `clock-${instance}`)

/** Text that makes the wall clock of its process go by a file, looked at every few milliseconds; what measures time spans is left alone. */
const settable = (folder: string): string => `{
  const fs = process.getBuiltinModule('node:fs');
  const Real = Date;
  let ahead = 0;
  const look = () => { try { ahead = Number(fs.readFileSync(${JSON.stringify(clockOf(folder, ''))} + process.env.TIDINGS_INSTANCE, 'utf8')); } catch { ahead = 0; } };
  look();
  setInterval(look, ${LOOK_MS}).unref();
  globalThis.Date = class Date extends Real {
    constructor(...given) { if (given.length === 0) super(Real.now() + ahead); else super(...given); }
    static now() { return Real.now() + ahead; }
  };
}`

const APPS: readonly AppName[] = ['api', 'connect', 'logic', 'task']

const withClocks = (folder: string): Partial<Record<AppName, readonly Rewrite[]>> =>
  Object.fromEntries(
    APPS.map((app) => [
      app,
      [{ module: moduleUrl(`apps/${app}/dist/src/main.js`), find: MAIN, replace: `${settable(folder)}\n${MAIN}` }],
    ]),
  )

const setClock = ({ cluster }: FaultContext, { instance }: AppProcess, aheadMs: number): void =>
  writeFileSync(clockOf(cluster.folder, instance), String(aheadMs))

const setRight = ({ cluster }: FaultContext, { instance }: AppProcess): void =>
  rmSync(clockOf(cluster.folder, instance), { force: true })

/** By how much the clock that made this id is ahead of ours. */
const aheadOf = (id: string): number => Number(BigInt(id) >> 22n) + SNOWFLAKE_EPOCH_MS - Date.now()

/** Minutes by which an id that this api makes is ahead, once it is by more than half of what it should be. */
async function minutesSeen(c: FaultContext, api: number, aheadMs: number): Promise<number | undefined> {
  let minutes: number | undefined
  await within(async () => {
    const ahead = aheadOf((await c.crowd.send(c.crowd.conversations.at(-1)!, { api })).id)
    if (ahead / aheadMs > 0.5) minutes = Math.round(ahead / 60_000)
    return minutes !== undefined
  }, 5_000)
  return minutes
}

async function restart(app: AppProcess): Promise<void> {
  await app.stop()
  await app.start()
}

export const clockFaults: Fault[] = [
  {
    row: '38',
    name: 'one process of each app an hour ahead, while it runs',
    boundMs: 5_000,
    available: true,
    rewrites: withClocks,
    async run(c) {
      const wrong = APPS.map((app) => c.cluster.of(app)[0]!)
      for (const app of wrong) setClock(c, app, HOUR_MS)
      const minutes = await minutesSeen(c, 0, HOUR_MS)
      if (minutes !== undefined) c.bit(`an id of ${wrong[0]!.instance} was made ${minutes} minutes from now`)
      await c.hold(6_000)
      // Set back, it would make no ids until it has caught up, and says so: a process that had the wrong time is started again.
      for (const app of wrong) setRight(c, app)
      await pause(2 * LOOK_MS)
      for (const app of wrong) if (app.app === 'api' || app.app === 'connect') await restart(app)
    },
  },
  {
    row: '38b',
    name: 'one process of each app an hour behind, from its start',
    boundMs: 5_000,
    available: true,
    rewrites: withClocks,
    async run(c) {
      const wrong = APPS.map((app) => c.cluster.of(app)[0]!)
      for (const app of wrong) {
        setClock(c, app, -HOUR_MS)
        await restart(app)
      }
      const minutes = await minutesSeen(c, 0, -HOUR_MS)
      if (minutes !== undefined) c.bit(`an id of ${wrong[0]!.instance} was made ${-minutes} minutes ago`)
      await c.hold(6_000)
      for (const app of wrong) setRight(c, app)
      await pause(2 * LOOK_MS)
    },
  },
  {
    row: '38c',
    name: 'ids in the streams from an hour ahead',
    boundMs: 5_000,
    available: true,
    async run(c) {
      const { redis, keys, partitions } = c.cluster
      let set = 0
      for (let p = 0; p < partitions; p++) {
        const stream = keys.messages(p)
        if ((await redis.exists(stream)) === 0) continue
        // As a server whose clock was right again has it: later ids go on from there.
        await redis.call('XSETID', stream, `${Date.now() + HOUR_MS}-0`)
        set++
      }
      const quiet = c.crowd.conversations.at(-1)!
      await c.crowd.send(quiet)
      const [newest] = await redis.xrevrange(keys.messages(keys.partitionOf(quiet.conv)), '+', '-', 'COUNT', 1)
      const minutes = Math.round((Number(newest![0].split('-')[0]) - Date.now()) / 60_000)
      if (minutes > 30) c.bit(`${set} streams; the newest entry of one stands ${minutes} minutes from now`)
      await c.hold(3_000)
    },
  },
  {
    row: '38d',
    name: 'sessions revoked by logic processes whose clocks are an hour apart',
    boundMs: 5_000,
    available: true,
    rewrites: withClocks,
    async run(c) {
      const [wrong] = c.cluster.of('logic')
      setClock(c, wrong!, HOUR_MS)
      try {
        await pause(2 * LOOK_MS)
        await revoke(c)
      } finally {
        setRight(c, wrong!)
      }
    },
  },
]
