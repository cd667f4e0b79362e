import { randomBytes } from 'node:crypto'
import { ConfigError } from '@tidings/service'
import { given } from '@tidings/service/test-env'
import { createConnection, type RowDataPacket } from 'mysql2/promise'
import t, { type Test } from 'tap'
import { migrate } from '../src/index.js'

const server = given('TIDINGS_MYSQL_URL')

async function query(sql: string): Promise<RowDataPacket[]> {
  const url = new URL(server)
  url.pathname = '/'
  const connection = await createConnection({ uri: url.href })
  try {
    const [rows] = await connection.query(sql)
    return rows as RowDataPacket[]
  } finally {
    connection.destroy()
  }
}

/** The URL of a database that does not exist yet and is dropped after the test. */
function freshUrl(t: Test): { url: string; name: string } {
  const name = `t_${randomBytes(6).toString('hex')}`
  const url = new URL(server)
  url.pathname = `/${name}`
  t.after(() => query(`DROP DATABASE IF EXISTS ${name}`))
  return { url: url.href, name }
}

t.test('two starters at once migrate once, and a later one finds nothing to do', async (t) => {
  const { url, name } = freshUrl(t)
  const both = await Promise.all([migrate(url), migrate(url)])
  t.same(both.map(({ applied }) => applied.length).sort(), [0, 12], 'one of them applied all')
  t.same((await migrate(url)).applied, [])
  const tables = await query(`SELECT table_name AS name FROM information_schema.tables WHERE table_schema = '${name}'`)
  t.equal(tables.length, 28, 'twenty-seven tables and the list of migrations')
})

t.test('every id column compares byte for byte and every text column is utf8mb4', async (t) => {
  const { url, name } = freshUrl(t)
  await migrate(url)
  const columns = await query(
    `SELECT CONCAT(table_name, '.', column_name) AS name, character_set_name AS charset, collation_name AS collation
      FROM information_schema.columns
      WHERE table_schema = '${name}' AND character_set_name IS NOT NULL AND table_name <> '__drizzle_migrations'`,
  )
  const unicode = [
    ...['entries.content', 'entries.fold', 'entries.reason', 'files.name', 'meta.value', 'outbox.change'],
    ...['outbox.content', 'rooms.name', 'users.display_name', 'webhooks.rooms', 'webhooks.users', 'push_due.preview'],
    ...['deliveries.body', 'deliveries.last_error'],
  ]
  for (const column of columns) {
    const expected = unicode.includes(column.name) ? 'utf8mb4_bin' : 'ascii_bin'
    t.equal(column.collation, expected, column.name)
  }
})

t.test('a database that a newer version has migrated is refused with one sentence', async (t) => {
  const { url, name } = freshUrl(t)
  await migrate(url)
  await query(`INSERT INTO ${name}.__drizzle_migrations (hash, created_at) VALUES ('from the future', 9999999999999)`)
  await t.rejects(migrate(url), { name: 'ConfigError', message: /1 migration\(s\) that this version does not know/ })
})

t.test('a start that was cut short is taken up again', async (t) => {
  const { url, name } = freshUrl(t)
  await migrate(url)
  await query(`DELETE FROM ${name}.__drizzle_migrations`)
  await query(`DROP TABLE ${name}.users`)
  const first = ['0001_tables', '0002_generations', '0003_rooms', '0004_blocks']
  const later = [
    '0005_folds',
    '0006_files',
    '0009_data',
    '0010_push',
    '0011_notify',
    '0012_webhook_secrets',
    '0013_passes_and_left',
    '0014_kept_mutes',
  ]
  t.same((await migrate(url)).applied, [...first, ...later])
})

t.test('a database of another character set is refused', async (t) => {
  const { url, name } = freshUrl(t)
  await query(`CREATE DATABASE ${name} CHARACTER SET latin1`)
  await t.rejects(migrate(url), { message: /latin1.*ALTER DATABASE/ })
})

t.test('a server that does not answer, and a URL without a database, are named without the password', async (t) => {
  const away = new URL(server)
  away.port = '1'
  await t.rejects(migrate(away.href), { code: 'unavailable', message: /does not answer/ })
  const wrong = new URL(server)
  wrong.password = 'not-the-password'
  try {
    await migrate(wrong.href)
    t.fail('the password is wrong')
  } catch (error) {
    t.ok(error instanceof ConfigError)
    t.notMatch((error as Error).message, /not-the-password/)
  }
  await t.rejects(migrate('mysql://u:secret-word@127.0.0.1/'), { message: /must end with the name of a database/ })
})
