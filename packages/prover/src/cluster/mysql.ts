/** MySQL as an operator reaches it. */
import { type Connection, createConnection } from 'mysql2/promise'

export type Row = Record<string, string | number | null>

/** A connection of its own. @throws when the server does not take it */
export async function connectMysql(url: string): Promise<Connection> {
  const connection = await createConnection({
    uri: url,
    connectTimeout: 3_000,
    bigNumberStrings: true,
    supportBigNumbers: true,
  })
  // A server that goes away between two queries: the next query reports it.
  connection.on('error', () => undefined)
  return connection
}

/** One statement on a connection of its own. */
export async function queryMysql(url: string, sql: string, values: unknown[] = []): Promise<Row[]> {
  const connection = await connectMysql(url)
  try {
    const [rows] = await connection.query({ sql, timeout: 10_000 }, values)
    return Array.isArray(rows) ? (rows as Row[]) : []
  } finally {
    connection.destroy()
  }
}
