/** Telling "the database is away" from "this row is wrong": the first says nothing about the entry in hand. */
import { AppError } from '@tidings/protocol'
import { DrizzleQueryError } from 'drizzle-orm'

/** What mysql2 puts on an error; all of it is optional, for some come from Node and some from the server. */
interface DriverError extends Error {
  code?: string
  errno?: number
  sql?: string
}

export const ER_DUPLICATE = 1062

/** Network and driver conditions, by code. */
const AWAY_CODES: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'PROTOCOL_CONNECTION_LOST',
  'PROTOCOL_SEQUENCE_TIMEOUT',
  'PROTOCOL_PACKETS_OUT_OF_ORDER',
])

/** Server conditions, by number: it is going down, full, read-only, too busy, or not set up. None is any row's fault. */
const AWAY_NUMBERS: ReadonlySet<number> = new Set([
  1021, // disk full
  1037, // out of memory
  1038, // out of sort memory
  1040, // too many connections
  1041, // out of resources
  1044, // access denied to the database
  1045, // access denied
  1049, // unknown database
  1053, // shutdown in progress
  1114, // table full
  1142, // command denied
  1146, // no such table: not migrated yet
  1158, // communication packet read
  1159, // read timeout
  1160, // write error
  1161, // write timeout
  1203, // too many connections of this user
  1205, // lock wait timeout
  1213, // deadlock
  1226, // user resource limit
  1290, // read-only server
  1317, // query interrupted
  1792, // read-only transaction
  1836, // read-only mode
  1927, // connection killed (MariaDB)
  1969, // statement timeout (MariaDB)
  3024, // statement timeout (MySQL)
  4031, // disconnected for inactivity (MySQL)
])

/** mysql2 gives these no code. */
const AWAY_MESSAGES = ['Pool is closed', 'Queue limit reached', 'No connections available', 'closed state']

/** Deadlock and lock wait: the same transaction may well pass the next time. */
export const mayPassNextTime = (error: unknown): boolean => {
  const number = errnoOf(error)
  return number === 1213 || number === 1205
}

export const errnoOf = (error: unknown): number | undefined => (error as DriverError | undefined)?.errno

/** Is the database away, busy or not set up, so that the caller should pause and try again? */
export function isAway(error: unknown): boolean {
  if (error instanceof AppError) return error.code === 'unavailable'
  if (!(error instanceof Error)) return false
  const { code, errno, message } = bare(error)
  if (code !== undefined && AWAY_CODES.has(code)) return true
  if (errno !== undefined && AWAY_NUMBERS.has(errno)) return true
  return AWAY_MESSAGES.some((part) => message.includes(part))
}

/**
 * The driver's own error, without the statement: drizzle's wrapper and mysql2's `sql` both carry every parameter, message content
 * and password hashes included, into whatever logs them.
 */
export function bare(error: Error): DriverError {
  const cause = error instanceof DrizzleQueryError && error.cause instanceof Error ? error.cause : error
  delete (cause as DriverError).sql
  return cause
}

/** What the callers of a store function catch: `unavailable` when the database is away, else the driver's own error. */
export function toStoreError(thrown: unknown): unknown {
  if (!(thrown instanceof Error) || thrown instanceof AppError) return thrown
  const error = bare(thrown)
  if (!isAway(error)) return error
  return new AppError('unavailable', 'The database does not answer now. Try again shortly.', {
    cause: error,
    retryAfter: 2,
  })
}
