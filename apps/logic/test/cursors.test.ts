import { cursorsOf } from '@tidings/store'
import t from 'tap'
import { ack, openDevices } from '../src/cursors.js'
import { createDevices } from '../src/devices.js'
import { unwrap } from '../src/outcome.js'
import { startWriteBehind } from '../src/write-behind.js'
import { log, openDevice, until, world } from './world.js'

const { deps, redis, keys, store, mysql, people, say, persist, forgetRedis } = await world(t)
await people('alice', 'bob', 'carol', 'dave')
const open = (user: string, device: string) =>
  openDevice(deps, user, device).then((positions) =>
    positions.map(({ conversation, cursor, head }) => `${conversation} ${cursor}/${head}`).sort(),
  )
const acked = (user: string, device: string, conversation: string, seq: number) =>
  ack(deps, { acks: [{ user, device, conversation, seq }] })

t.test('a new device starts after what any device has acknowledged, and that is decided once', async (t) => {
  for (const text of ['1', '2', '3', '4', '5']) await say('alice', 'bob', text)
  await say('carol', 'alice', 'hi')
  t.same(await open('alice', 'phone'), ['dm:alice:bob 0/5', 'dm:alice:carol 0/1'], 'the first device: at the beginning')
  await acked('alice', 'phone', 'dm:alice:bob', 2)
  t.same(await open('alice', 'laptop'), ['dm:alice:bob 2/5', 'dm:alice:carol 0/1'])
  await acked('alice', 'phone', 'dm:alice:bob', 4)
  t.same(await open('alice', 'laptop'), ['dm:alice:bob 2/5', 'dm:alice:carol 0/1'], 'fixed')
  t.same(await open('alice', 'watch'), ['dm:alice:bob 4/5', 'dm:alice:carol 0/1'])
  t.same(await open('Alice', 'phone'), [], 'byte for byte')
})

t.test('acks move forward only, never beyond the head, and only in one’s own conversations', async (t) => {
  await acked('bob', 'phone', 'dm:alice:bob', 3)
  await acked('bob', 'phone', 'dm:alice:bob', 1)
  t.same(await open('bob', 'phone'), ['dm:alice:bob 3/5'])
  await acked('bob', 'phone', 'dm:alice:bob', 1_000_000)
  t.same(await open('bob', 'phone'), ['dm:alice:bob 5/5'], 'also those at their head are answered')
  await t.rejects(acked('bob', 'phone', 'dm:alice:carol', 1), { code: 'conversation_not_found' })
  await t.rejects(acked('bob', 'phone', 'dm:alice:bob', -1), { code: 'invalid_request' })
  await t.rejects(acked('bob', 'phone', 'dm:alice:bob', 1.5), { code: 'invalid_request' })
  await t.rejects(acked('bob', '../x', 'dm:alice:bob', 1), { code: 'invalid_request' })
  const beyond = [
    { user: 'bob', device: 'strict', conversation: 'dm:alice:bob', seq: 2 },
    { user: 'bob', device: 'strict', conversation: 'dm:bob:carol', seq: 1 },
  ]
  await t.rejects(ack(deps, { acks: beyond, withinHead: true }), { code: 'beyond_head' })
  t.equal(await redis.hget(keys.cursor('bob', 'strict'), 'dm:alice:bob'), null, 'all or nothing, where it is wanted so')
  await ack(deps, { acks: beyond.slice(0, 1), withinHead: true })
  t.equal(await redis.hget(keys.cursor('bob', 'strict'), 'dm:alice:bob'), '5', 'its start was further')
  const many = Array.from({ length: 70 }, (_, i) => ({
    user: 'bob',
    device: `d${i}`,
    conversation: 'dm:alice:bob',
    seq: 1 + (i % 5),
  }))
  await ack(deps, { acks: many })
  t.same(await redis.hget(keys.cursor('bob', 'd3'), 'dm:alice:bob'), '5', 'an unlisted device first gets its start')
})

t.test('cursors and devices reach MySQL behind, and come back after Redis forgot them', async (t) => {
  await persist('dm:alice:bob')
  await persist('dm:alice:carol')
  await until(() => deps.writeBehind.depth === 0)
  t.match(
    (await cursorsOf(store, ['alice'])).cursors.map(({ device, seq }) => `${device} ${seq}`),
    ['laptop 2', 'phone 4', 'watch 4'],
  )
  await forgetRedis()
  t.same(await open('alice', 'phone'), ['dm:alice:bob 4/5', 'dm:alice:carol 0/1'], 'heads come from the rows')
  t.same(await open('alice', 'laptop'), ['dm:alice:bob 2/5', 'dm:alice:carol 0/1'])
  t.same(
    await open('alice', 'tablet'),
    ['dm:alice:bob 4/5', 'dm:alice:carol 0/1'],
    'the start of a new one is not lost',
  )
})

t.test('an ack for a device that Redis forgot puts it back first', async (t) => {
  await forgetRedis()
  await acked('alice', 'phone', 'dm:alice:bob', 1)
  t.same(await open('alice', 'phone'), ['dm:alice:bob 4/5', 'dm:alice:carol 0/1'])
})

t.test('with MySQL away a known device opens, and after Redis forgot nothing is made up', async (t) => {
  // They might have talked before Redis forgot: their first seq now is beyond all that they could have been given.
  await say('dave', 'carol', 'one')
  t.same(await open('carol', 'phone'), ['dm:alice:carol 0/1', 'dm:carol:dave 0/2000000001'])
  await say('carol', 'alice', 'so that Redis has the head')
  mysql.cut()
  t.same(
    await open('dave', 'phone').catch((error) => error.code),
    'unavailable',
    'nobody knows whether dave has devices',
  )
  const other = createDevices({ ...deps, most: 200, log })
  const openOther = async () => unwrap((await other.open([{ user: 'carol', device: 'phone' }]))[0]!)
  const { cursors, conversations } = await openOther()
  t.same(
    [cursors.size, conversations.sort()],
    [0, ['dm:alice:carol', 'dm:carol:dave', 'feed:*']],
    'a process that never asked MySQL',
  )
  await redis.del(keys.devices('carol'))
  await t.rejects(openOther(), { code: 'unavailable' })
  mysql.heal()
  t.same(await open('dave', 'phone'), ['dm:carol:dave 0/2000000001'])
})

t.test('many devices of one user opened at once get one start each', async (t) => {
  await acked('dave', 'phone', 'dm:carol:dave', 1)
  const answers = await Promise.all(Array.from({ length: 10 }, (_, i) => open('dave', `new${i % 5}`)))
  for (const answer of answers) t.same(answer, ['dm:carol:dave 1/2000000001'])
})

t.test('of devices that are opened together each has an answer of its own', async (t) => {
  await redis.set(keys.devices('broken'), 'not a list of devices')
  const devices = ['alice', 'broken', 'no one', 'dave'].map((user) => ({ user, device: 'phone' }))
  const opened = await openDevices(deps, { devices })
  t.same(
    opened.map(({ value, error }) => error?.code ?? value!.length),
    [2, 'unavailable', 'invalid_request', 1],
  )
  const much = Array.from({ length: 60_000 }, (_, i) => `dm:a:u${i}`)
  const rich: Pick<typeof deps, 'devices' | 'reader'> = {
    devices: {
      ...deps.devices,
      open: async (names) =>
        names.map(({ user }) => ({ value: { user, cursors: new Map(), conversations: much, feedStart: 0 } })),
    },
    reader: { ...deps.reader, heads: async (asked) => asked.map(() => 1) },
  }
  t.same(
    (await openDevices({ ...deps, ...rich }, { devices: devices.slice(0, 2) })).map(
      ({ value, error }) => error?.code ?? value!.length,
    ),
    [60_000, 'overloaded'],
    'what does not fit into one answer is asked for again',
  )
})

t.test('what waits for MySQL is bounded, and stored at the stop', async (t) => {
  const cursor = (n: number) => ({ user: 'wb', device: 'd', conversation: `dm:u${n}:wb`, seq: n })
  const bounded = startWriteBehind({ store, log, maxWaiting: 3 })
  mysql.cut()
  await bounded.add([cursor(1), cursor(2), cursor(3)], [{ user: 'wb', device: 'd', firstSeen: 1_000 }])
  await t.rejects(bounded.add([cursor(4)], []), { code: 'overloaded' })
  t.equal(bounded.depth, 4, 'what it had it still has')
  mysql.heal()
  await bounded.add([cursor(5)], [])
  t.equal(bounded.depth, 1, 'the others were stored to make room')
  await bounded.stop()
  t.equal((await cursorsOf(store, ['wb'])).cursors.length, 4)
})

t.test('beside a device for which there is no room, one of before is opened', async (t) => {
  const { deps, people } = await world(t)
  await people('zara')
  const devices = createDevices({ ...deps, most: 2, log })
  const codes = async (...names: string[]) =>
    (await devices.open(names.map((device) => ({ user: 'zara', device })))).map(({ error }) => error?.code)
  t.same(await codes('one', 'two'), [undefined, undefined])
  for (let i = 0; i < 2; i++)
    t.same(
      await codes('one', 'three', 'two'),
      [undefined, 'limit_reached', undefined],
      'as MySQL was asked lately, or not',
    )
  devices.compareAgain()
  t.same(await codes('three', 'one'), ['limit_reached', undefined])
})

t.end()
