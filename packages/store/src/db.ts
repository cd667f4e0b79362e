/** The connections to MySQL or MariaDB: bounded in number, in waiting and in time. */
import { setTimeout as delay } from 'node:timers/promises'
import { AppError } from '@tidings/protocol'
import { backoffMs, type Logger } from '@tidings/service'
import { drizzle, type MySql2Database } from 'drizzle-orm/mysql2'
import {
  createPool,
  type PoolConnection,
  type QueryOptions,
  type QueryValues,
  type RowDataPacket,
} from 'mysql2/promise'
import { bare, isAway, mayPassNextTime, toStoreError } from './away.js'

const CONNECTIONS = 10
/** Callers that may wait for a connection. */
const QUEUE_LIMIT = 1_000
const CONNECT_TIMEOUT_MS = 2_000
/** Waiting for a connection, and each statement. */
const ACQUIRE_TIMEOUT_MS = 5_000
const QUERY_TIMEOUT_MS = 5_000
/** Below MySQL's wait_timeout of any sane setting: the server never closes one under us. */
const IDLE_TIMEOUT_MS = 60_000
const ATTEMPTS = 4
const LOG_EVERY_MS = 5_000

/**
 * Strict whatever the server's default is, so that nothing is cut or turned into something else; and backslashes escape, which the
 * driver's quoting relies on. READ COMMITTED: no statement of ours needs gap locks, and they are what deadlocks are made of.
 */
const SESSION_STATEMENTS = [
  "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'",
  "SET SESSION time_zone = '+00:00', SESSION innodb_lock_wait_timeout = 3",
  'SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED',
]

/** One connection, for as long as a piece of work takes. */
export interface Db {
  /** Drizzle's query builder. */
  orm: MySql2Database
  /** Rows of a hand-written SELECT. */
  select<Row>(sql: string, values?: QueryValues): Promise<Row[]>
  /** Any other hand-written statement. @returns rows affected */
  run(sql: string, values?: QueryValues): Promise<number>
}

export interface Store {
  /**
   * Lends a connection. What `work` reads or writes is not one transaction: see `transaction`.
   * @throws AppError `unavailable` when the database is away; else the driver's error, with its `errno`
   */
  use<T>(work: (db: Db) => Promise<T>): Promise<T>
  /** Rejects when the database does not answer. */
  ping(): Promise<void>
  /** Closes all connections. */
  stop(): Promise<void>
}

/**
 * Nothing is connected before the first use, so this works while the database is away.
 * @param url mysql://user:password@host:port/database
 */
export function connectStore(url: string, log: Logger): Store {
  const pool = createPool({
    uri: url,
    connectionLimit: CONNECTIONS,
    queueLimit: QUEUE_LIMIT,
    connectTimeout: CONNECT_TIMEOUT_MS,
    idleTimeout: IDLE_TIMEOUT_MS,
    maxIdle: 2,
    enableKeepAlive: true,
    keepAliveInitialDelay: 10_000,
    timezone: 'Z',
    charset: 'utf8mb4',
    supportBigNumbers: true,
    bigNumberStrings: true,
    multipleStatements: false,
    // Otherwise each statement takes a stack along in case that it fails: 4 % of what logic and task cost.
    trace: false,
  })
  const ready = new WeakMap<object, Db>()
  let lastLogged = Number.NEGATIVE_INFINITY
  let stopped = false

  function note(error: unknown): void {
    const now = performance.now()
    if (stopped || !isAway(error) || now - lastLogged < LOG_EVERY_MS) return
    lastLogged = now
    const { code, message } = bare(error as Error)
    log.warn({ code, reason: message }, 'mysql is away')
  }

  async function open(connection: PoolConnection): Promise<Db> {
    // The pool hands out a new wrapper each time; what stays is the connection inside.
    const known = ready.get(connection.connection)
    if (known) return known
    const db = makeDb(connection)
    for (const statement of SESSION_STATEMENTS) await db.run(statement)
    ready.set(connection.connection, db)
    return db
  }

  async function use<T>(work: (db: Db) => Promise<T>): Promise<T> {
    let connection: PoolConnection | undefined
    try {
      connection = await acquire(() => pool.getConnection())
      const answer = await work(await open(connection))
      connection.release()
      return answer
    } catch (thrown) {
      // A statement that timed out still runs on its connection: nobody else may get that one.
      if (connection && isAway(thrown)) connection.destroy()
      else connection?.release()
      note(thrown)
      throw toStoreError(thrown)
    }
  }

  return {
    use,
    ping: () => use(async (db) => void (await db.select('select 1'))),
    async stop() {
      if (stopped) return
      stopped = true
      await pool.end()
    },
  }
}

/** A connection within the time, or `unavailable`; one that comes later goes back. */
async function acquire(get: () => Promise<PoolConnection>): Promise<PoolConnection> {
  const pending = get()
  let timer: NodeJS.Timeout | undefined
  // Not an AbortSignal: each statement comes by here, and aborting costs more than asking for a row.
  const tooLate = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, ACQUIRE_TIMEOUT_MS, undefined)
  })
  try {
    const connection = await Promise.race([pending, tooLate])
    if (connection) return connection
  } finally {
    clearTimeout(timer)
  }
  pending.then(
    (late) => late.release(),
    // Its caller was told `unavailable` already.
    () => undefined,
  )
  throw new AppError('unavailable', 'The database has no free connection now. Try again shortly.', { retryAfter: 2 })
}

/** The driver's connection with a bound on each statement. */
function makeDb(connection: PoolConnection): Db {
  const query = (options: string | QueryOptions, values?: QueryValues) =>
    bounded(connection.query(typeof options === 'string' ? { sql: options } : options, values))
  return {
    orm: drizzle({ client: { query } as never }),
    async select<Row>(sql: string, values?: QueryValues) {
      const [rows] = await query(sql, values)
      return rows as (Row & RowDataPacket)[]
    },
    async run(sql, values) {
      const [header] = await query(sql, values)
      return (header as { affectedRows?: number }).affectedRows ?? 0
    },
  }
}

/** The driver's own timeout leaves its timer behind when the connection breaks, which holds up the end of the process. */
async function bounded<T>(statement: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const tooLate = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(Object.assign(new Error('The statement took too long.'), { code: 'PROTOCOL_SEQUENCE_TIMEOUT' }))
    }, QUERY_TIMEOUT_MS)
  })
  try {
    return await Promise.race([statement, tooLate])
  } finally {
    clearTimeout(timer)
  }
}

/**
 * Runs `work` as one transaction, again from the start after a deadlock or a lock wait: it may run several times.
 * @throws AppError `unavailable`, also when it is still deadlocked after several tries; else what `work` throws
 */
export async function transaction<T>(store: Store, work: (db: Db) => Promise<T>): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await store.use((db) => once(db, work))
    } catch (error) {
      const cause = error instanceof AppError ? error.cause : undefined
      if (!mayPassNextTime(cause) || attempt + 1 >= ATTEMPTS) throw error
      await delay(backoffMs(attempt, { firstMs: 20, maxMs: 200 }))
    }
  }
}

async function once<T>(db: Db, work: (db: Db) => Promise<T>): Promise<T> {
  await db.run('START TRANSACTION')
  try {
    const answer = await work(db)
    await db.run('COMMIT')
    return answer
  } catch (error) {
    // When the database is away the connection is destroyed by `use`, and that rolls back.
    if (!isAway(error)) await db.run('ROLLBACK')
    throw error
  }
}
