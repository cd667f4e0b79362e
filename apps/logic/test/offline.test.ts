import type { logicRpc } from '@tidings/protocol'
import { insertTombstone } from '@tidings/store'
import t from 'tap'
import { ack } from '../src/cursors.js'
import { createListingCursors } from '../src/listing-cursor.js'
import { readOffline } from '../src/offline.js'
import { openDevice, until, world } from './world.js'

const { deps, redis, keys, store, mysql, people, say, persist, forgetRedis } = await world(t)
await people('alice', 'Alice', 'bob', 'carol', 'dave', 'erin')
const offline = (user: string, over: Partial<logicRpc.ReadOfflineRequest> = {}) =>
  readOffline(deps, { user, device: 'phone', cursor: '', limit: 0, fromOldest: false, ...over })
const acked = (user: string, conversation: string, seq: number, device = 'phone') =>
  ack(deps, { acks: [{ user, device, conversation, seq }] })
const told = ({ entries }: Pick<logicRpc.ReadOfflineResponse, 'entries'>) =>
  entries.map(({ conversation, seq }) => `${conversation} ${seq}`)

/** @param between is done after each page */
async function walk(user: string, over: Partial<logicRpc.ReadOfflineRequest>, between = async () => {}) {
  const found: string[] = []
  const pages: number[] = []
  let cursor = ''
  do {
    const page = await offline(user, { ...over, cursor })
    found.push(...told(page))
    pages.push(page.entries.length)
    cursor = page.nextCursor
    await between()
  } while (cursor !== '')
  return { found, pages }
}

t.test('what the device has not acknowledged, by conversation and seq, before MySQL knows any of it', async (t) => {
  for (const text of ['1', '2', '3']) await say('carol', 'alice', text)
  for (const text of ['1', '2']) await say('alice', 'bob', text)
  const first = await offline('alice')
  t.same(told(first), ['dm:alice:bob 1', 'dm:alice:bob 2', 'dm:alice:carol 1', 'dm:alice:carol 2', 'dm:alice:carol 3'])
  t.same([first.voids, first.nextCursor], [[], ''])
  t.equal(first.entries[0]!.content, '{"text":"1"}')
  t.same(told(await offline('alice')), told(first), 'it moves no cursor')
  await acked('alice', 'dm:alice:carol', 2)
  await acked('alice', 'dm:alice:bob', 2)
  t.same(told(await offline('alice')), ['dm:alice:carol 3'])
  t.same(told(await offline('alice', { fromOldest: true })), told(first), 'from=oldest reaches back')
  t.same(told(await offline('alice')), ['dm:alice:carol 3'], 'for that listing only')
  t.same(told(await offline('Alice')), [], 'byte for byte')
})

t.test('it opens the device: a new one starts after what any has acknowledged, fixed once', async (t) => {
  t.same(told(await offline('alice', { device: 'laptop' })), ['dm:alice:carol 3'])
  await acked('alice', 'dm:alice:carol', 3)
  t.same(told(await offline('alice', { device: 'laptop' })), ['dm:alice:carol 3'], 'fixed when it was first seen')
  const positions = await openDevice(deps, 'alice', 'laptop')
  t.match(positions, [{ cursor: 2 }, { cursor: 2 }], 'as a connection finds it')
  t.same(told(await offline('alice', { device: 'watch' })), [])
})

t.test(
  'pages follow each other without a gap or a double, whatever arrives and is acknowledged meanwhile',
  async (t) => {
    const friends = Array.from({ length: 40 }, (_, i) => `f${String(i).padStart(2, '0')}`)
    await people(...friends)
    const expected: string[] = []
    for (const [i, friend] of friends.entries()) {
      for (let seq = 1; seq <= 1 + (i % 9); seq++) {
        await say(friend, 'dave', String(seq))
        expected.push(`dm:dave:${friend} ${seq}`)
      }
    }
    const quiet = await walk('dave', { limit: 7 })
    t.same(quiet.found, expected)
    t.same(new Set(quiet.pages.slice(0, -1)), new Set([7]), 'all pages but the last are full')
    let n = 0
    const busy = await walk('dave', { limit: 7 }, async () => {
      await say(friends[n % 40]!, 'dave', 'meanwhile')
      await acked('dave', `dm:dave:${friends[n++ % 40]}`, 1)
    })
    t.equal(new Set(busy.found).size, busy.found.length, 'none twice')
    const acknowledged = new Set(friends.slice(0, n).map((friend) => `dm:dave:${friend} 1`))
    const missing = expected.filter((one) => !busy.found.includes(one) && !acknowledged.has(one))
    t.same(missing, [], 'none of before is missing')
    const next = (await walk('dave', { limit: 500 })).found
    const heads = friends.slice(0, n).map((friend, i) => `dm:dave:${friend} ${2 + (i % 9)}`)
    t.ok(n > 10 && n <= 40, 'something arrived, and at most once in each')
    t.same(
      heads.filter((one) => !next.includes(one)),
      [],
      'what arrived behind the walk is in the next listing',
    )
  },
)

t.test('the cursor keeps from=oldest, and nobody else’s nor a made-up one is taken', async (t) => {
  await acked('dave', 'dm:dave:f39', 1_000)
  const { found } = await walk('dave', { limit: 50, fromOldest: true })
  t.ok(found.includes('dm:dave:f39 1'), 'on a later page, although only the first asked for it')
  const { nextCursor: cursor } = await offline('dave', { limit: 3 })
  const [payload, tag] = cursor.split('.') as [string, string]
  const made = Buffer.from(JSON.stringify(['dm:dave:f00', 1, true])).toString('base64url')
  const others = createListingCursors('another secret')
  const bad: [string, Parameters<typeof offline>][] = [
    ['garbage', ['dave', { cursor: 'garbage' }]],
    ['a number', ['dave', { cursor: '7' }]],
    ['long', ['dave', { cursor: 'x'.repeat(10_000) }]],
    ['another payload', ['dave', { cursor: `${made}.${tag}` }]],
    ['no tag', ['dave', { cursor: payload }]],
    ['a cut tag', ['dave', { cursor: cursor.slice(0, -1) }]],
    ['another user', ['erin', { cursor }]],
    ['another device', ['dave', { cursor, device: 'laptop' }]],
    [
      'another secret',
      ['dave', { cursor: others.seal({ conversation: 'dm:dave:f00', seq: 1, oldest: true }, 'dave', 'phone') }],
    ],
  ]
  for (const [name, [user, over]] of bad) await t.rejects(offline(user, over), { code: 'invalid_request' }, name)
  await t.rejects(offline('dave', { limit: 501 }), { code: 'invalid_request' })
  await t.rejects(offline('dave', { device: '../x' }), { code: 'invalid_request' })
})

t.test('voids are told per conversation, and a long backlog comes from the log and from MySQL', async (t) => {
  const text = 'x'.repeat(10)
  for (let i = 1; i <= 450; i++) await say('erin', 'bob', text)
  await persist('dm:bob:erin')
  await redis.xtrim(keys.log('dm:bob:erin'), 'MINID', '300-0')
  await store.use((db) => db.run("DELETE FROM entries WHERE conversation = 'dm:bob:erin' AND seq = 20"))
  await insertTombstone(store, { conversation: 'dm:bob:erin', seq: 20, reason: 'rejected' })
  await acked('bob', 'dm:alice:bob', 2)
  const page = await offline('bob', { limit: 500 })
  t.equal(page.entries.length, 449)
  t.same(page.voids, [{ conversation: 'dm:bob:erin', voids: [{ from: 20, to: 20 }] }])
  t.equal(page.nextCursor, '')
  const { found, pages } = await walk('bob', { limit: 100 })
  t.same([found.length, pages], [449, [100, 100, 100, 100, 49]])
})

t.test('a page is bounded by what it holds, too', async (t) => {
  const text = 'x'.repeat(16_000)
  for (let i = 1; i <= 130; i++) await say('carol', 'erin', text)
  for (let i = 1; i <= 2; i++) await say('dave', 'erin', text)
  await acked('erin', 'dm:bob:erin', 450)
  const { found, pages } = await walk('erin', { limit: 500 })
  t.equal(found.length, 132)
  t.ok(pages.length > 1, 'more than one page')
})

t.test('a head that Redis forgets meanwhile does not begin the listing anew', async (t) => {
  for (let i = 1; i <= 250; i++) await say('alice', 'erin', 'x')
  const reader = {
    ...deps.reader,
    async after(...range: Parameters<typeof deps.reader.after>) {
      const entries = await deps.reader.after(...range)
      await redis.set(keys.seq('dm:alice:erin'), 150)
      return entries
    },
  }
  const request = { user: 'erin', device: 'phone', cursor: '', limit: 500, fromOldest: false }
  await t.rejects(readOffline({ ...deps, reader }, request), { code: 'unavailable' })
})

t.test('what a leap skipped ends the listing of its conversation, and of no other, until it is stored', async (t) => {
  await people('gail', 'hugo', 'ivan')
  for (const text of ['1', '2', '3']) await say('gail', 'hugo', text)
  await persist('dm:gail:hugo')
  await acked('hugo', 'dm:gail:hugo', 1)
  await until(() => deps.writeBehind.depth === 0)
  await forgetRedis()
  const { seq } = await say('gail', 'hugo', 'after it was forgotten')
  const { seq: other } = await say('ivan', 'hugo', 'elsewhere')
  await persist('dm:hugo:ivan')
  const gap = { conversation: 'dm:gail:hugo', from: 4, to: seq - 1 }
  const page = await offline('hugo')
  t.same([told(page), page.gaps], [['dm:gail:hugo 2', 'dm:gail:hugo 3'], [gap]])
  for (const limit of [1, 2, 3, 500]) {
    const { found } = await walk('hugo', { limit })
    t.same(found, [...told(page), `dm:hugo:ivan ${other}`], `in pages of ${limit}`)
  }
  await acked('hugo', 'dm:gail:hugo', 3)
  t.match(await offline('hugo'), { gaps: [gap] }, 'nothing before the gap')
  await persist('dm:gail:hugo')
  const whole = await offline('hugo')
  t.same([told(whole), whole.gaps], [[`dm:gail:hugo ${seq}`], []])
  t.match(whole.voids[0], { conversation: 'dm:gail:hugo', voids: [{ from: 4, to: seq - 1 }] })
})

t.test('a source that is away, and a hole, are unavailable and never a short or an empty page', async (t) => {
  await offline('bob')
  mysql.cut()
  await t.rejects(offline('bob', { limit: 500 }), { code: 'unavailable' }, 'MySQL is needed')
  mysql.heal()
  await store.use((db) => db.run("DELETE FROM entries WHERE conversation = 'dm:bob:erin' AND seq = 100"))
  await t.rejects(offline('bob', { limit: 500 }), { code: 'unavailable' }, 'an entry is nowhere')
  await forgetRedis()
  mysql.cut()
  await t.rejects(offline('alice'), { code: 'unavailable' }, 'nobody knows what alice has')
  mysql.heal()
})

t.end()
