/** Brings a database to the tables that this code needs. Forward only; what is applied is never edited. */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { AppError } from '@tidings/protocol'
import { ConfigError } from '@tidings/service'
import { drizzle } from 'drizzle-orm/mysql2'
import { migrate as applyAll } from 'drizzle-orm/mysql2/migrator'
import { type Connection, createConnection, type RowDataPacket } from 'mysql2/promise'

/** The .sql files and meta/_journal.json lie beside src; this file runs from dist/src. */
const folder = new URL('../../', import.meta.url)
const APPLIED_TABLE = '__drizzle_migrations'
/** How long one starter waits for another one that is migrating. */
const LOCK_SECONDS = 60
const CONNECT_TIMEOUT_MS = 5_000

const ER_UNKNOWN_DATABASE = 1049
const DENIED: ReadonlySet<number> = new Set([1044, 1045, 1142, 1227])

export interface Migrated {
  /** Names of the migrations that this call applied; empty when there was nothing to do. */
  applied: string[]
}

interface Migration {
  name: string
  /** SHA-256 of the file, as drizzle writes it down. */
  hash: string
}

/**
 * Applies what is missing, once, however many processes start at the same time. Makes the database of the URL when it does not exist
 * and the user may.
 * @param url mysql://user:password@host:port/database
 * @throws ConfigError when the database is not one that this code can use; AppError `unavailable` when it does not answer
 */
export async function migrate(url: string): Promise<Migrated> {
  const database = databaseOf(url)
  const connection = await connect(url, database)
  try {
    await checkServer(connection, database)
    return await withLock(connection, database, () => apply(connection, database))
  } catch (error) {
    throw explain(error, database)
  } finally {
    connection.destroy()
  }
}

function databaseOf(url: string): string {
  const name = URL.canParse(url) ? decodeURIComponent(new URL(url).pathname.slice(1)) : ''
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(name)) {
    throw new ConfigError(
      'TIDINGS_MYSQL_URL must end with the name of a database: mysql://user:password@host:port/database.',
    )
  }
  return name
}

async function connect(url: string, database: string): Promise<Connection> {
  try {
    return await open(url)
  } catch (error) {
    if (errnoOf(error) !== ER_UNKNOWN_DATABASE) throw explain(error, database)
  }
  try {
    await create(url, database)
    return await open(url)
  } catch (error) {
    throw explain(error, database)
  }
}

async function open(url: string): Promise<Connection> {
  const connection = await createConnection({ uri: url, connectTimeout: CONNECT_TIMEOUT_MS, charset: 'utf8mb4' })
  // A connection that breaks between two statements: the next statement reports it.
  connection.on('error', () => undefined)
  return connection
}

async function create(url: string, database: string): Promise<void> {
  const server = new URL(url)
  server.pathname = '/'
  const connection = await open(server.href)
  try {
    await connection.query(
      `CREATE DATABASE IF NOT EXISTS \`${database}\` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci`,
    )
  } finally {
    connection.destroy()
  }
}

/** Settings of a server under which data would be changed silently. */
async function checkServer(connection: Connection, database: string): Promise<void> {
  const row = await first<{ mode: string; charset: string }>(
    connection,
    `SELECT @@SESSION.sql_mode AS mode, default_character_set_name AS charset
      FROM information_schema.schemata WHERE schema_name = DATABASE()`,
  )
  if (!/STRICT_(ALL|TRANS)_TABLES/.test(row.mode)) {
    throw new ConfigError(
      `The MySQL server runs without strict mode (sql_mode is "${row.mode}") and would cut what does not fit: add STRICT_TRANS_TABLES to sql_mode.`,
    )
  }
  if (row.charset !== 'utf8mb4') {
    throw new ConfigError(
      `The database ${database} has the character set ${row.charset}, which cannot hold every message: ALTER DATABASE \`${database}\` CHARACTER SET utf8mb4.`,
    )
  }
}

/** The lock goes with its connection, so a starter that dies does not keep it. */
async function withLock<T>(connection: Connection, database: string, work: () => Promise<T>): Promise<T> {
  // Lock names have at most 64 characters (MySQL manual, "Locking Functions").
  const name = `tidings_migrate_${database}`.slice(0, 64)
  const { got } = await first<{ got: number | null }>(connection, 'SELECT GET_LOCK(?, ?) AS got', [name, LOCK_SECONDS])
  if (got !== 1) {
    throw new AppError(
      'unavailable',
      `Another process has been migrating the database ${database} for over a minute.`,
      {
        retryAfter: 5,
      },
    )
  }
  try {
    return await work()
  } finally {
    await connection.query('SELECT RELEASE_LOCK(?)', [name])
  }
}

async function apply(connection: Connection, database: string): Promise<Migrated> {
  const known = readMigrations()
  const before = await appliedHashes(connection)
  const hashes = new Set(known.map(({ hash }) => hash))
  const unknown = before.filter((hash) => !hashes.has(hash)).length
  if (unknown > 0) {
    throw new ConfigError(
      `The database ${database} has ${unknown} migration(s) that this version does not know: start the newer version that applied them, or give another database.`,
    )
  }
  const missing = known.filter(({ hash }) => !before.includes(hash))
  if (missing.length === 0) return { applied: [] }
  await applyAll(drizzle({ client: connection }), {
    migrationsFolder: fileURLToPath(folder),
    migrationsTable: APPLIED_TABLE,
  })
  return { applied: missing.map(({ name }) => name) }
}

function readMigrations(): Migration[] {
  const journal = JSON.parse(readFileSync(new URL('meta/_journal.json', folder), 'utf8')) as {
    entries: { tag: string }[]
  }
  return journal.entries.map(({ tag }) => ({
    name: tag,
    hash: createHash('sha256')
      .update(readFileSync(new URL(`${tag}.sql`, folder), 'utf8'))
      .digest('hex'),
  }))
}

async function appliedHashes(connection: Connection): Promise<string[]> {
  const [tables] = await connection.query<RowDataPacket[]>('SHOW TABLES LIKE ?', [APPLIED_TABLE])
  if (tables.length === 0) return []
  const [rows] = await connection.query<RowDataPacket[]>(`SELECT hash FROM ${APPLIED_TABLE}`)
  return rows.map((row) => (row as { hash: string }).hash)
}

async function first<Row>(connection: Connection, sql: string, values: (string | number)[] = []): Promise<Row> {
  const [rows] = await connection.query<RowDataPacket[]>(sql, values)
  return rows[0] as Row
}

const errnoOf = (error: unknown): number | undefined => (error as { errno?: number } | undefined)?.errno

/** One sentence that says what to do; the cause stays with it. Never the URL: it holds the password. */
function explain(error: unknown, database: string): unknown {
  if (error instanceof ConfigError || error instanceof AppError || !(error instanceof Error)) return error
  const errno = errnoOf(error)
  if (errno !== undefined && DENIED.has(errno)) {
    return new ConfigError(
      `The user of TIDINGS_MYSQL_URL may not use or make the database ${database} (${error.message}): CREATE DATABASE \`${database}\` CHARACTER SET utf8mb4, and GRANT ALL on it to that user.`,
      { cause: error },
    )
  }
  if (
    'fatal' in error ||
    /ECONN|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|EHOST|closed state/.test(
      `${(error as { code?: string }).code} ${error.message}`,
    )
  ) {
    return new AppError(
      'unavailable',
      'The MySQL server of TIDINGS_MYSQL_URL does not answer: start it, or correct its address.',
      {
        cause: error,
        retryAfter: 2,
      },
    )
  }
  return new Error(`The database ${database} could not be migrated: ${error.message}`, { cause: error })
}
