/** A MariaDB of our own, with the database and the user of the product. */
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { type Connection, createConnection } from 'mysql2/promise'
import { Failure } from './failure.js'
import { ownedBy, socketPath } from './folders.js'
import type { Place, Store } from './store.js'

const run = promisify(execFile)

const DATABASE = 'tidings'
const USER = 'tidings'
const CHARACTERS = ['--character-set-server=utf8mb4', '--collation-server=utf8mb4_unicode_ci'] as const

/** How the product's user signs in, and what it may do. */
export interface Login {
  password: string
  /** May make databases and users of its own: for tests. */
  everything?: boolean
}

/** Describes a MariaDB in a place, on a port. */
export function mysql(place: Place, port: number, login: Login): Store {
  const url = `mysql://${USER}:${encodeURIComponent(login.password)}@127.0.0.1:${port}/${DATABASE}`
  const { path, install, basedir, env } = place.programs.mysql
  const data = join(place.folder, 'data')
  const init = join(place.folder, 'init.sql')
  // Of its own: at its start a server deletes what it takes for its own old temporary tables, those of its neighbours too.
  const temporary = join(place.folder, 'tmp')
  const base = basedir ? [`--basedir=${basedir}`] : []
  // The redo log of the default size costs 96 MB and a good part of the first start.
  const sizes = place.fast ? ['--innodb-log-file-size=16M', '--innodb-buffer-pool-size=64M'] : []
  return {
    name: 'mysql',
    url,
    ports: { client: port },
    folder: place.folder,
    log: place.log,
    async prepare() {
      mkdirSync(place.folder, { recursive: true, mode: 0o700 })
      ownedBy(place.folder, place.account)
      mkdirSync(temporary, { recursive: true, mode: 0o700 })
      ownedBy(temporary, place.account)
      if (!existsSync(data)) await makeData()
      // Run at every start, before the first client is let in: the same password and rights whatever happened before.
      writeFileSync(init, setUp(login), { mode: 0o600 })
      ownedBy(init, place.account)
    },
    command: () => ({
      file: path,
      // biome-ignore format: one flag a line
      args: [
        '--no-defaults',
        ...base,
        `--datadir=${data}`,
        `--tmpdir=${temporary}`,
        `--socket=${socketPath(place.folder, port, place.account)}`,
        `--pid-file=${join(place.folder, 'mariadbd.pid')}`,
        `--port=${port}`,
        '--bind-address=127.0.0.1',
        '--skip-name-resolve',
        '--skip-log-bin',
        `--innodb-flush-log-at-trx-commit=${place.fast ? 2 : 1}`,
        '--max-connections=500',
        `--init-file=${init}`,
        ...CHARACTERS,
        ...sizes,
        // Only the case of a root that may not become anyone else: mariadbd asks for the word.
        ...(process.getuid?.() === 0 && !place.account ? ['--user=root'] : []),
      ],
      env: { ...process.env, ...env },
      cwd: place.folder,
      account: place.account,
    }),
    probe: () => selectOne(url),
  }

  /** Made under another name and renamed when whole: a first start that is cut short leaves nothing half-made behind. */
  async function makeData(): Promise<void> {
    const draft = `${data}.new`
    rmSync(draft, { recursive: true, force: true })
    // The script splits the base folder and what it passes on at blanks: no path that may hold one is among them.
    const args = [
      '--no-defaults',
      ...(basedir ? [`--basedir=${basename(basedir)}`] : []),
      `--datadir=${draft}`,
      '--auth-root-authentication-method=socket',
      '--skip-test-db',
      ...CHARACTERS,
      ...sizes,
    ]
    if (process.getuid?.() === 0 && !place.account) args.push('--user=root')
    const identity = place.account ? { uid: place.account.uid, gid: place.account.gid } : {}
    try {
      mkdirSync(draft, { mode: 0o700 })
      ownedBy(draft, place.account)
      await run(install, args, {
        cwd: basedir ? dirname(basedir) : place.folder,
        env: { ...process.env, ...env, TMPDIR: temporary },
        ...identity,
        maxBuffer: 16 * 1024 * 1024,
      })
    } catch (cause) {
      const output = `${(cause as { stdout?: unknown }).stdout ?? ''}\n${(cause as { stderr?: unknown }).stderr ?? ''}`
      writeFileSync(place.log, output, { flag: 'a', mode: 0o600 })
      const { code, signal } = cause as { code?: unknown; signal?: unknown }
      const lines = output
        .split('\n')
        .filter((line) => /error|fatal|cannot|can't/i.test(line))
        .slice(0, 3)
      throw new Failure(
        `mysql: ${dirname(data)} could not be filled (${signal ? `signal ${String(signal)}` : `status ${String(code)}`}); its log is ${place.log}${lines.map((line) => `\n  ${line}`).join('')}`,
        { cause },
      )
    }
    renameSync(draft, data)
  }
}

function setUp(login: Login): string {
  const who = `'${USER}'@'127.0.0.1'`
  const password = login.password.replaceAll(/[\\']/g, '\\$&')
  // One statement a line: that is how the server reads this file.
  return [
    `CREATE DATABASE IF NOT EXISTS ${DATABASE} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;`,
    `CREATE USER IF NOT EXISTS ${who};`,
    `ALTER USER ${who} IDENTIFIED BY '${password}';`,
    `GRANT ALL ON ${login.everything ? '*' : DATABASE}.* TO ${who}${login.everything ? ' WITH GRANT OPTION' : ''};`,
    '',
  ].join('\n')
}

/** `select 1`, once, as the product's user. */
export async function selectOne(url: string): Promise<void> {
  await withMysql(url, async (connection) => {
    await connection.query('select 1')
  })
}

/** Opens one connection, uses it and closes it. */
export async function withMysql<T>(url: string, use: (connection: Connection) => Promise<T>): Promise<T> {
  const connection = await createConnection({ uri: url, connectTimeout: 2_000 })
  // A server that goes away between two queries: the next query reports it.
  connection.on('error', () => undefined)
  try {
    return await use(connection)
  } finally {
    connection.destroy()
  }
}
