/** Row 47: several things at once, drawn by the seed: what fails, for how long, and what else fails meanwhile. */
import type { AppName, AppProcess } from '../cluster/app.js'
import type { StoreName } from '../cluster/cluster.js'
import { connectMysql } from '../cluster/mysql.js'
import type { LinkProxy } from '../cluster/proxy.js'
import type { Chance } from '../load/chance.js'
import { pause, until, within } from '../until.js'
import type { Fault, FaultContext } from './fault.js'

const LASTS_MS = 40_000
const MOST_AT_ONCE = 4
/** One thing lasts from a moment to longer than a lease. */
const ONE_LASTS_MS = [300, 6_000] as const
const NEXT_MS = [200, 1_200] as const

interface Move {
  /** What it harms: nothing is harmed in two ways at once. */
  on: string
  name: string
  begin(): unknown
  end(): unknown
}

const APPS: readonly AppName[] = ['api', 'connect', 'logic', 'task']

/** The first of an app stays whole: two of two away is another fault. */
function victimOf({ cluster, chance }: FaultContext): AppProcess {
  const of = cluster.of(chance.pick(APPS))
  return of[chance.between(1, of.length - 1)] ?? of[0]!
}

/** As its supervisor would have it: one that finds no store at its start ends, and is started again. */
const restarted = (app: AppProcess): Promise<void> =>
  until(
    `${app.instance} is back`,
    () =>
      app.ended === undefined ||
      app.start().then(
        () => true,
        () => pause(500),
      ),
    30_000,
  )

function processMove(c: FaultContext): Move {
  const victim = victimOf(c)
  const on = victim.instance
  const kinds: Move[] = [
    { on, name: `${on} killed`, begin: () => victim.kill(), end: () => restarted(victim) },
    { on, name: `${on} paused`, begin: () => victim.signal('SIGSTOP'), end: () => victim.signal('SIGCONT') },
    { on, name: `${on} stopped`, begin: () => victim.stop(), end: () => restarted(victim) },
  ]
  return c.chance.pick(kinds)
}

const part = (link: LinkProxy): void => {
  link.harm({ refusing: true })
  link.cut()
}

function linkMove(c: FaultContext): Move {
  const { cluster, chance } = c
  const victim = cluster.of(chance.pick(APPS))
  const { app, instance } = chance.pick(victim)
  const ends: (StoreName | 'clients' | 'workers')[] = ['redis', 'etcd']
  if (app === 'logic' || app === 'task') ends.push('mysql')
  if (app === 'api' || app === 'connect') ends.push('clients')
  if (app === 'connect') ends.push('workers')
  const end = chance.pick(ends)
  const link = cluster.link(instance, end)
  const on = `${instance} and ${end}`
  const heal = (): void => link.heal()
  const kinds: Move[] = [
    { on, name: `${on} half-open`, begin: () => link.harm({ stalled: true }), end: heal },
    { on, name: `${on} cut`, begin: () => link.cut(), end: heal },
    { on, name: `${on} apart`, begin: () => part(link), end: heal },
    { on, name: `${on} slow`, begin: () => link.harm({ delayMs: 50, jitterMs: 150 }), end: heal },
    {
      on,
      name: `${on} lose replies`,
      begin: () => link.harm({ cutReplyTo: [':messages', 'POST '], cutReplies: 3 }),
      end: heal,
    },
  ]
  return chance.pick(kinds)
}

function storeMove(c: FaultContext): Move {
  const { cluster, chance } = c
  const { redis, mysql, etcd } = cluster.stores
  const nothing = (): void => undefined
  const kinds: Move[] = [
    { on: 'redis', name: 'Redis paused', begin: () => redis.freeze(), end: () => redis.thaw() },
    {
      on: 'redis',
      name: 'connections to Redis killed',
      begin: () => cluster.redis.call('CLIENT', 'KILL', 'TYPE', 'normal'),
      end: nothing,
    },
    { on: 'redis', name: 'scripts forgotten', begin: () => cluster.redis.script('FLUSH'), end: nothing },
    { on: 'redis', name: 'redis-server killed', begin: () => redis.kill(), end: () => redis.restart() },
    { on: 'mysql', name: 'MySQL paused', begin: () => mysql.freeze(), end: () => mysql.thaw() },
    { on: 'mysql', name: 'MySQL killed', begin: () => mysql.kill(), end: () => mysql.restart() },
    { on: 'mysql', name: 'MySQL read-only', begin: () => readOnly(c, 1), end: () => readOnly(c, 0) },
    { on: 'etcd', name: 'etcd paused', begin: () => etcd.freeze(), end: () => etcd.thaw() },
    { on: 'etcd', name: 'etcd killed', begin: () => etcd.kill(), end: () => etcd.restart() },
  ]
  return chance.pick(kinds)
}

async function readOnly({ cluster }: FaultContext, on: 0 | 1): Promise<void> {
  const session = await connectMysql(cluster.mysqlUrl)
  try {
    await session.query(`SET GLOBAL read_only = ${on}`)
  } finally {
    session.destroy()
  }
}

/** Processes and links more often than stores: those are one of a kind. */
function draw(c: FaultContext): Move {
  const chance: Chance = c.chance
  return chance.pick([processMove, processMove, linkMove, linkMove, linkMove, storeMove])(c)
}

async function everything(c: FaultContext): Promise<void> {
  const going = new Map<string, Promise<void>>()
  const done: string[] = []
  const failed: string[] = []
  let atOnce = 0
  async function go(move: Move, ms: number): Promise<void> {
    try {
      await move.begin()
      done.push(move.name)
      await c.hold(ms)
    } finally {
      await move.end()
    }
  }
  let over = false
  const clock = c.hold(LASTS_MS).then(() => {
    over = true
  })
  while (!over) {
    const move = draw(c)
    const ms = c.chance.between(...ONE_LASTS_MS)
    const wait = c.chance.between(...NEXT_MS)
    if (going.size < MOST_AT_ONCE && !going.has(move.on)) {
      const running = go(move, ms)
        .catch((error: unknown) => void failed.push(`${move.name}: ${error instanceof Error ? error.message : error}`))
        .finally(() => going.delete(move.on))
      going.set(move.on, running)
      atOnce = Math.max(atOnce, going.size)
    }
    await pause(wait)
  }
  await clock
  await Promise.all(going.values())
  await within(() => c.cluster.redis.ping().catch(() => false), 10_000)
  c.healed()
  if (failed.length > 0) throw new Error(failed.join('; '))
  if (atOnce > 1) c.bit(`${done.length} things, up to ${atOnce} at once: ${done.join(', ')}`)
}

export const mixedFaults: Fault[] = [
  {
    row: '47',
    name: 'several things at once, by chance',
    boundMs: 60_000,
    available: false,
    // Redis is killed among others.
    voids: true,
    run: everything,
  },
]
