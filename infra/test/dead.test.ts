import { randomBytes } from 'node:crypto'
import { given } from '@tidings/service/test-env'
import { Redis } from 'ioredis'
import { type Test, test } from 'tap'
import { parseOptions } from '../src/dead.js'
import { command, folder } from './world.js'

const LETTER = [
  'conversation',
  'dm:alice:bob',
  'seq',
  '7',
  'from',
  'alice',
  'type',
  'text',
  'content',
  '{"text":"secret"}',
]
const WHY = ['reason', 'seq_conflict', 'deliveries', '1', 'entry', '1-1']

/** A namespace in a real Redis, and the command that looks at it. */
function instance(t: Test) {
  const url = given('TIDINGS_REDIS_URL')
  const namespace = `d${randomBytes(6).toString('hex')}`
  const redis = new Redis(url)
  t.teardown(async () => {
    const names = await redis.keys(`${namespace}:*`)
    if (names.length > 0) await redis.del(names)
    redis.disconnect()
  })
  const settings = {
    TIDINGS_REDIS_URL: url,
    TIDINGS_NAMESPACE: namespace,
    TIDINGS_PARTITIONS: '4',
    TIDINGS_DATA_DIR: folder(t),
  }
  return {
    redis,
    dead: (...args: string[]) => command(['dead', ...args], settings),
    letter: (group: string, partition: number, fields: string[]) =>
      redis.xadd(`${namespace}:{${partition}}:dead:${group}`, '*', ...fields),
    stream: (partition: number) => `${namespace}:{${partition}}:messages`,
  }
}

test('dead list shows the letters of all groups and partitions, never content unless asked, nothing that a terminal obeys', async (t) => {
  const { dead, letter } = instance(t)
  t.same(await dead('list'), { code: 0, stdout: '', stderr: 'no dead letters\n' })
  const id = await letter('persist', 3, [...LETTER, ...WHY])
  await letter('push', 0, [
    'hello\u001b[31m',
    'x',
    'type',
    'a\nb\u202e',
    'reason',
    'id is missing\u0007',
    ...WHY.slice(2),
  ])
  const plain = await dead('list')
  t.equal(plain.stdout.trim().split('\n').length, 2)
  t.match(plain.stdout, `persist:3:${id}  `)
  t.match(plain.stdout, /dm:alice:bob {2}seq 7 {2}alice {2}text {2}deliveries 1 {2}seq_conflict\n/)
  t.match(plain.stdout, 'a\\nb\\u202e')
  t.match(plain.stdout, 'id is missing\\u0007')
  t.notMatch(plain.stdout.replaceAll('\n', ''), /[\p{Cc}\u202e]|secret/u)
  const json = await dead('list', '--json', '--group', 'persist', '--partition', '3', '--content')
  t.match(JSON.parse(json.stdout), [
    { id: `persist:3:${id}`, partition: 3, group: 'persist', seq: '7', entry: '1-1', content: '{"text":"secret"}' },
  ])
  const one = await dead('list', '--limit', '1')
  t.equal(one.stdout.trim().split('\n').length, 1)
  t.match(one.stderr, /^1 more/)
})

test('dead retry and drop take letters by id or all of them, and say which were gone', async (t) => {
  const { dead, letter, redis, stream } = instance(t)
  const id = `persist:2:${await letter('persist', 2, [...LETTER, ...WHY])}`
  t.match(await dead('retry', id), { code: 0, stdout: 'put back: 1\n' })
  t.match(await redis.xrange(stream(2), '-', '+'), [[/-/, LETTER]])
  t.match(await dead('retry', id), { code: 1, stdout: 'put back: 0\n', stderr: `${id} is gone already\n` })
  for (let i = 0; i < 60; i++) await letter('push', 1, [...LETTER, ...WHY])
  await letter('persist', 1, [...LETTER, ...WHY])
  t.match(await dead('retry', '--all', '--group', 'push'), { code: 0, stdout: 'put back: 60\n' })
  t.equal(await redis.xlen(stream(1)), 60)
  t.match(await dead('drop', '--all'), { code: 2, stderr: /add --yes/ })
  t.match(await dead('drop', '--all', '--yes'), { code: 0, stdout: 'dropped: 1\n' })
  t.match(await dead('list'), { stdout: '' })
  t.equal(await redis.xlen(stream(1)), 60, 'a drop puts nothing back')
})

test('dead says how it is used, and when there is nothing to look at', async (t) => {
  for (const args of [
    [],
    ['revive'],
    ['retry'],
    ['retry', 'nonsense'],
    ['retry', '--all', 'push:0:1-1'],
    ['list', '--group', 'x'],
  ])
    t.throws(() => parseOptions(args), { name: 'Failure', exitCode: 2, message: /Usage:/ }, args.join(' '))
  const { code, stderr } = await command(['dead', 'list'], { TIDINGS_DATA_DIR: folder(t) })
  t.equal(code, 1)
  t.match(stderr, /^Nothing runs here/)
})

test('a letter of every group goes by the id that list shows', async (t) => {
  for (const group of ['push', 'persist', 'notify'])
    t.match(parseOptions(['retry', `${group}:3:1763700000000-0`]).ids, [{ group, partition: 3, id: '1763700000000-0' }])
})
