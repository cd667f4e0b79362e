/** Rows 28 to 33: MySQL is away, hangs, refuses, or is in somebody's hands. */
import { connectMysql } from '../cluster/mysql.js'
import type { LinkProxy } from '../cluster/proxy.js'
import { readAsOne } from '../load/reader.js'
import { pause, within } from '../until.js'
import type { Fault, FaultContext } from './fault.js'

const BOUND_MS = 30_000

/** What was under way when the server was taken hold of is through by then. */
const UNDER_WAY_MS = 500

async function rowsOf(c: FaultContext): Promise<number> {
  const [row] = await c.cluster.sql('SELECT COUNT(*) AS n FROM entries')
  return Number(row!.n)
}

/** A session of ours holds the server in some way. Nothing may be stored meanwhile: that is the proof. */
async function holdsAll(c: FaultContext, how: string, statements: readonly string[], release: string): Promise<void> {
  const session = await connectMysql(c.cluster.mysqlUrl)
  try {
    for (const statement of statements) await session.query(statement)
    await pause(UNDER_WAY_MS)
    const before = await rowsOf(c)
    await c.hold(6_000)
    const after = await rowsOf(c)
    if (before === after) c.bit(`${how}: ${before} rows, and none more until it was let go`)
    await session.query(release)
  } finally {
    session.destroy()
  }
}

async function appSessions(c: FaultContext): Promise<string[]> {
  const rows = await c.cluster.sql('SELECT ID AS id FROM information_schema.PROCESSLIST WHERE USER = ?', [
    c.cluster.namespace,
  ])
  return rows.map(({ id }) => String(id))
}

async function away(c: FaultContext, links: readonly LinkProxy[], ms: number): Promise<void> {
  const refusedBefore = links.reduce((sum, { counters }) => sum + counters.refused, 0)
  let cut = 0
  for (const link of links) {
    link.harm({ refusing: true })
    cut += link.cut()
  }
  await c.hold(ms)
  const refused = links.reduce((sum, { counters }) => sum + counters.refused, 0) - refusedBefore
  if (cut + refused > 0) c.bit(`${cut} connections cut and ${refused} refused`)
}

export const mysqlFaults: Fault[] = [
  {
    row: '28',
    name: 'MySQL killed, away, and started again',
    boundMs: BOUND_MS,
    available: true,
    async run(c) {
      const { mysql } = c.cluster.stores
      const { pid } = mysql
      await mysql.kill()
      await c.hold(12_000)
      await mysql.restart()
      if (mysql.pid !== pid) c.bit(`mariadbd was pid ${pid} and is ${mysql.pid}`)
    },
  },
  {
    row: '28b',
    name: 'MySQL away for the workers while more comes than a trim would leave',
    boundMs: BOUND_MS,
    available: true,
    run: (c) => away(c, c.cluster.links('task', 'mysql'), 12_000),
  },
  {
    row: '28c',
    name: 'MySQL away for logic, and a log that has expired',
    boundMs: BOUND_MS,
    available: true,
    async run(c) {
      const { cluster, crowd } = c
      const quiet = crowd.conversations.at(-1)!
      for (let i = 0; i < 5; i++) await crowd.send(quiet)
      const stored = async (): Promise<number> =>
        Number((await cluster.sql('SELECT MAX(seq) AS seq FROM entries WHERE conversation = ?', [quiet.conv]))[0]!.seq)
      const head = Number(await cluster.redis.get(cluster.keys.seq(quiet.conv)))
      if (!(await within(async () => (await stored()) === head, 20_000))) throw new Error('it was not stored')
      // As it happens to a log that was idle for a day.
      await cluster.redis.del(cluster.keys.log(quiet.conv))
      const reading = async (): Promise<void> => {
        await pause(500)
        const { history, target } = crowd.devices[0]!.options
        for (const base of cluster.apis)
          for (const after of [0, 1, head - 1])
            await readAsOne({ target, history, user: quiet.users[0], conv: quiet.conv, after, base })
      }
      await Promise.all([away(c, cluster.links('logic', 'mysql'), 6_000), reading()])
    },
  },
  {
    row: '29',
    name: 'MySQL read-only',
    boundMs: BOUND_MS,
    available: true,
    run: (c) => holdsAll(c, 'read_only', ['SET GLOBAL read_only = 1'], 'SET GLOBAL read_only = 0'),
  },
  {
    row: '29b',
    name: 'FLUSH TABLES WITH READ LOCK',
    boundMs: BOUND_MS,
    available: true,
    run: (c) => holdsAll(c, 'read lock', ['FLUSH TABLES WITH READ LOCK'], 'UNLOCK TABLES'),
  },
  {
    row: '30',
    name: 'another session holds the rows',
    boundMs: BOUND_MS,
    available: true,
    run: (c) => holdsAll(c, 'locked rows', ['START TRANSACTION', 'SELECT seq FROM entries FOR UPDATE'], 'ROLLBACK'),
  },
  {
    row: '31',
    name: 'MySQL paused',
    boundMs: BOUND_MS,
    available: true,
    async run(c) {
      const { mysql } = c.cluster.stores
      mysql.freeze()
      const answered = await Promise.race([rowsOf(c).then(() => true), pause(1_000).then(() => false)])
      if (!answered) c.bit(`mariadbd (pid ${mysql.pid}) answers nothing`)
      await c.hold(8_000)
      mysql.thaw()
    },
  },
  {
    row: '31b',
    name: 'workers and MySQL half-open',
    boundMs: BOUND_MS,
    available: true,
    async run(c) {
      const links = c.cluster.links('task', 'mysql')
      const held = (): number => links.reduce((sum, { counters }) => sum + counters.held, 0)
      const before = held()
      for (const link of links) link.harm({ stalled: true })
      await c.hold(8_000)
      if (held() > before) c.bit(`${held() - before} bytes held back`)
    },
  },
  {
    row: '31c',
    name: 'all connections to MySQL killed, again and again',
    boundMs: BOUND_MS,
    available: true,
    async run(c) {
      let killed = 0
      for (let i = 0; i < 8; i++) {
        for (const id of await appSessions(c))
          await c.cluster.sql(`KILL CONNECTION ${id}`).then(
            () => killed++,
            () => undefined,
          )
        await c.hold(500)
      }
      if (killed > 0) c.bit(`${killed} connections killed`)
    },
  },
  {
    row: '31d',
    name: 'too many connections',
    boundMs: BOUND_MS,
    available: true,
    async run(c) {
      const session = await connectMysql(c.cluster.mysqlUrl)
      try {
        await session.query('SET GLOBAL max_connections = 10')
        const ids = await appSessions(c)
        for (const id of ids) await session.query(`KILL CONNECTION ${id}`).catch(() => undefined)
        const crowd = await Promise.allSettled(Array.from({ length: 14 }, () => connectMysql(c.cluster.mysqlUrl)))
        await c.hold(5_000)
        const refused = crowd.filter(({ status }) => status === 'rejected').length
        for (const one of crowd) if (one.status === 'fulfilled') one.value.destroy()
        if (refused > 0) c.bit(`${refused} of 14 connections of ours were refused`)
      } finally {
        await session.query('SET GLOBAL max_connections = 500')
        session.destroy()
      }
    },
  },
  {
    row: '32',
    name: 'a row that MySQL will never take',
    boundMs: 10_000,
    available: true,
    async run(c) {
      const quiet = c.crowd.conversations.at(-1)!
      const size = 777
      await c.cluster.sql(`ALTER TABLE entries ADD CONSTRAINT prover_size CHECK (CHAR_LENGTH(content) < 10000)`)
      try {
        const kept = await c.crowd.send(quiet, { size: 12_000 + size })
        c.poison({ conv: quiet.conv, seq: kept.seq, clientId: kept.message.clientId, id: kept.id })
        const dead = c.cluster.keys.dead(c.cluster.keys.partitionOf(quiet.conv), 'persist')
        const isThere = async (): Promise<boolean> =>
          (await c.cluster.redis.xrange(dead, '-', '+')).some(([, fields]) => fields.includes(kept.id))
        if (await within(isThere, 20_000)) c.bit(`a dead letter for seq ${kept.seq} of ${quiet.conv}`)
      } finally {
        await c.cluster.sql('ALTER TABLE entries DROP CONSTRAINT prover_size')
      }
    },
  },
  {
    row: '32b',
    name: 'packets of 64 KiB at most',
    boundMs: BOUND_MS,
    available: true,
    async run(c) {
      const quiet = c.crowd.conversations.at(-1)!
      await c.cluster.sql('SET GLOBAL max_allowed_packet = 65536')
      try {
        for (const id of await appSessions(c)) await c.cluster.sql(`KILL CONNECTION ${id}`).catch(() => undefined)
        // Together more than a packet; each alone fits.
        await Promise.all(Array.from({ length: 12 }, () => c.crowd.send(quiet, { size: 12_000 })))
        await c.hold(3_000)
        const [row] = await c.cluster.sql('SELECT @@global.max_allowed_packet AS n')
        c.bit(`max_allowed_packet is ${row!.n}`)
      } finally {
        await c.cluster.sql('SET GLOBAL max_allowed_packet = 16777216')
        for (const id of await appSessions(c)) await c.cluster.sql(`KILL CONNECTION ${id}`).catch(() => undefined)
      }
    },
  },
]
