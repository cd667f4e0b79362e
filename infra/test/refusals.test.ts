import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'tap'
import { dataFolder, dataSetName, notePartitions } from '../src/data.js'
import { writeJson } from '../src/files.js'
import { isFree } from '../src/ports.js'
import { identify } from '../src/process.js'
import { portTaken } from '../src/settings.js'
import { command, folder, idleProcess, takenPort } from './world.js'

/** A port that nobody listens on. */
const DEAD_PORT = 1

test('63, 64: a weak secret and a bad port stop the start with status 78 and one line', async (t) => {
  const dir = folder(t)
  for (const [name, value, shown] of [
    ['TIDINGS_JWT_SECRET', 'changeme', '(hidden)'],
    ['TIDINGS_API_PORT', 'abc', '"abc"'],
    ['TIDINGS_CONNECT_PORT', '70000', '"70000"'],
    ['TIDINGS_TRUST_PROXY', 'true', '"true"'],
  ] as const) {
    const { code, stdout, stderr } = await command(['start'], { TIDINGS_DATA_DIR: dir, [name]: value })
    t.equal(code, 78, name)
    t.equal(stdout, '')
    t.equal(stderr.trim().split('\n').length, 1)
    t.ok(stderr.startsWith(`${name}=${shown} `), stderr)
  }
})

test('69: an unknown variable is taken for a typing error', async (t) => {
  const { code, stderr } = await command(['start'], { TIDINGS_DATA_DIR: folder(t), TIDINGS_API_PROT: '8080' })
  t.equal(code, 78)
  t.match(stderr, /TIDINGS_API_PROT is not a setting.*TIDINGS_API_PORT/)
})

test('an argument where none is taken is refused before anything is done', async (t) => {
  const dir = folder(t)
  for (const name of ['start', 'dev', 'stop', 'status', 'doctor', 'migrate', 'stores']) {
    const { code, stdout, stderr } = await command([name, '--port', '9000'], { TIDINGS_DATA_DIR: dir })
    t.same([code, stdout], [2, ''], name)
    t.match(stderr, new RegExp(`^"${name}" takes no arguments, and was given --port 9000: .*\n$`))
  }
  t.same(readdirSync(dir), [])
})

test('65: another number of partitions on existing data is refused', async (t) => {
  const dir = folder(t)
  notePartitions(dataFolder(dir), dataSetName(undefined, 'tidings'), 16)
  const { code, stderr } = await command(['start'], { TIDINGS_DATA_DIR: dir, TIDINGS_PARTITIONS: '8' })
  t.equal(code, 78)
  t.match(stderr, /^TIDINGS_PARTITIONS="8" cannot be used: .* written with 16; set it to 16/)
})

test('72: a URL where nobody answers is named without its password', async (t) => {
  const url = `redis://:hunter2hunter2@127.0.0.1:${DEAD_PORT}`
  const { code, stdout, stderr } = await command(['start'], { TIDINGS_DATA_DIR: folder(t), TIDINGS_REDIS_URL: url })
  t.equal(code, 1)
  t.match(stderr, /^TIDINGS_REDIS_URL: Redis at 127\.0\.0\.1:1 does not answer/)
  t.notMatch(stdout + stderr, /hunter2/)
  t.equal(stderr.trim().split('\n').length, 1)
})

test('a data folder that is a file, or whose state is damaged, is refused in one line', async (t) => {
  const dir = folder(t)
  writeFileSync(join(dir, 'file'), '')
  const file = await command(['start'], { TIDINGS_DATA_DIR: join(dir, 'file') })
  t.equal(file.code, 1)
  t.match(file.stderr, /is, or lies below, a file: move it away/)

  mkdirSync(join(dir, 'broken'))
  writeFileSync(join(dir, 'broken/state.json'), '{')
  const broken = await command(['start'], { TIDINGS_DATA_DIR: join(dir, 'broken') })
  t.equal(broken.code, 1)
  t.match(broken.stderr, /state\.json is damaged .*move it away/)
  t.equal(readFileSync(join(dir, 'broken/state.json'), 'utf8'), '{', 'the next start must not take it for nothing')
  t.notOk(existsSync(join(dir, 'broken/lock.json')))
})

test('a second start on the same data folder is refused while the first one runs', async (t) => {
  const data = dataFolder(folder(t))
  writeJson(data.lock, identify(idleProcess(t).pid))
  const { code, stderr } = await command(['start'], { TIDINGS_DATA_DIR: data.path })
  t.equal(code, 1)
  t.match(stderr, /^Tidings runs already in .*npm run stop.*\n$/)
})

test('status of nothing is an empty array, and stop has nothing to do, twice', async (t) => {
  const settings = { TIDINGS_DATA_DIR: join(folder(t), 'none') }
  t.same(await command(['status'], settings), { code: 0, stdout: '[]\n', stderr: '' })
  t.equal((await command(['stop'], settings)).code, 0)
  t.equal((await command(['stop'], settings)).code, 0)
})

test('doctor names a taken port and fails on it only when it was asked for', async (t) => {
  const port = await takenPort(t)
  const { code, stdout } = await command(['doctor'], { TIDINGS_DATA_DIR: folder(t), TIDINGS_API_PORT: String(port) })
  t.equal(code, 1)
  t.match(stdout, new RegExp(`^fail  TIDINGS_API_PORT ${port} is taken by .*\\(pid ${process.pid}\\)`, 'm'))
  t.equal(await isFree(port), false)
})

test('an address that is not of this machine is refused by start and by doctor', async (t) => {
  // Of RFC 5737: nobody's.
  for (const [name, value] of [
    ['TIDINGS_HOST', '192.0.2.1'],
    ['TIDINGS_OPS_HOST', 'nowhere.invalid'],
  ] as const) {
    const settings = { TIDINGS_DATA_DIR: folder(t), [name]: value }
    const { code, stderr } = await command(['start'], settings)
    t.equal(code, 78, name)
    t.match(stderr, new RegExp(`^${name}="${value}" cannot be used: .*give an address of this machine.*\\n$`))
    const { stdout } = await command(['doctor'], settings)
    t.match(stdout, new RegExp(`^fail  ${name}="${value}" cannot be used`, 'm'))
  }
})

test('a port that this user may not have is told apart from one that is taken', async (t) => {
  const error = Object.assign(new Error('listen EACCES: permission denied'), { code: 'EACCES' })
  t.match(portTaken('TIDINGS_API_PORT', 80, error).message, /"80" cannot be used: this user may not listen there/)
  const port = await takenPort(t)
  const { code, stderr } = await command(['start'], { TIDINGS_DATA_DIR: folder(t), TIDINGS_API_PORT: String(port) })
  t.equal(code, 78)
  t.match(stderr, /cannot be used: another process listens there/)
})
