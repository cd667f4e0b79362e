/** A notification whose time is over says nothing any more, wherever it is read. */
import t from 'tap'
import { until, world } from '../src/index.js'
import { conversations, EVERYONE, history, offline, push, type Seen, stored, TWO, texts, textsOf } from './pushing.js'

const w = await world(t, TWO)

t.test('what is over is a stub wherever it is read', async (t) => {
  const [alice, bob] = [await w.user(), await w.user()]
  const feed = `feed:${alice.name}`
  const there = await alice.connect({ device: 'there' })
  await push(w, { users: [alice.name] }, 'soon over', { ttl: 1 })
  const { message } = await push(w, { all: true }, 'also over', { ttl: 1, priority: 'high' })
  await push(w, { users: [alice.name] }, 'stays', { ttl: 3_600 })
  await there.until('all', () => there.messages().length === 3)
  t.same(texts(there, feed), ['soon over', 'stays'], 'whoever is there sees it')
  const [over] = there.messages(feed) as unknown as Seen[]
  t.ok(over!.expiresAt! > Date.now() - 10_000)
  await until(
    'its time is over',
    () =>
      Date.now() > Math.max(...(there.messages() as unknown as Seen[]).slice(0, 2).map(({ expiresAt }) => expiresAt!)),
  )

  const stubs = ['expired', 'stays', 'expired']
  const late = await alice.connect({ device: 'late', node: 1 })
  t.same([...texts(late, feed), ...texts(late, EVERYONE)], stubs, 'catching up on a socket')
  t.notMatch(late.raw.join(), /over"/, 'nothing of what it said')
  const bobs = await bob.connect({ node: 0 })
  t.same(texts(bobs, EVERYONE), ['expired'])
  t.same([...textsOf(await history(w, alice, feed)), ...textsOf(await history(w, alice, EVERYONE))], stubs, 'history')
  const byName = (await offline(w, alice, 'device=tv')) as (Seen & { conversation: string })[]
  t.same(textsOf(byName.filter((one) => one.conversation === feed)), ['expired', 'stays'], 'offline')
  t.same(textsOf(byName.filter((one) => one.conversation === EVERYONE)), ['expired'])
  t.match((await conversations(w, bob))[0], { id: EVERYONE, unread: 1, lastMessage: { type: 'expired' } })
  const single = await w.http<Seen>('GET', `messages/${message!.id}`, { token: bob.token })
  t.same([single.body.type, single.body.content], ['expired', undefined])
  const url = w.connects[0]!.url.replace('ws:', 'http:').replace('/ws', '/longpoll')
  const polled: Seen[] = []
  await until('all is polled', async () => {
    const reply = await fetch(`${url}?device=radio&timeout=1`, { headers: { authorization: `Bearer ${alice.token}` } })
    for (const one of ((await reply.json()) as { messages: Seen[] }).messages) polled.push(one)
    return new Set(polled.map(({ id }) => id)).size === 3
  })
  t.same(
    textsOf([...new Map(polled.map((one) => [one.id, one])).values()]).sort(),
    ['expired', 'expired', 'stays'],
    'long-polling',
  )
  late.send({ op: 'sync', conversation: feed, after: 0 })
  await late.next('synced')
  t.same(texts(late, feed).slice(-2), ['expired', 'stays'], 'sync')

  await stored(w, feed, 2)
  await stored(w, EVERYONE, 1)
  await w.redis.del(w.keys.log(feed), w.keys.log(EVERYONE))
  t.same(
    [...textsOf(await history(w, alice, feed)), ...textsOf(await history(w, alice, EVERYONE))],
    stubs,
    'from MySQL',
  )
})

t.test('what waits between two polls is a stub when its time is over', async (t) => {
  const alice = await w.user()
  const url = w.connects[0]!.url.replace('ws:', 'http:').replace('/ws', '/longpoll')
  const poll = async (ack: string): Promise<{ messages: Seen[]; ack: string }> => {
    const reply = await fetch(`${url}?device=radio&timeout=0&ack=${ack}`, {
      headers: { authorization: `Bearer ${alice.token}` },
    })
    return (await reply.json()) as { messages: Seen[]; ack: string }
  }
  const { ack } = await poll('')
  await push(w, { users: [alice.name] }, 'soon over', { ttl: 1 })
  const began = Date.now()
  const feed = `feed:${alice.name}`
  const witness = await alice.connect({ device: 'witness' })
  await witness.until('the entry is there', () => witness.messages(feed).length === 1)
  await until('its time is over', () => Date.now() > began + 1_000)
  let messages: Seen[] = []
  await until('the poll has it', async () => {
    messages = (await poll(messages.length === 0 ? ack : '')).messages
    return messages.length > 0
  })
  t.same(textsOf(messages), ['expired'])
})

t.test(
  'of what was pushed with one key only the newest comes, wherever it is read; whoever was there had all',
  async (t) => {
    const alice = await w.user()
    const feed = `feed:${alice.name}`
    const there = await alice.connect({ device: 'there' })
    const score = (text: string, to: object = { users: [alice.name] }) => push(w, to, text, { collapseKey: 'score' })
    await score('1:0')
    await push(w, { users: [alice.name] }, 'news', { collapseKey: 'news' })
    await score('2:0')
    const { message } = await score('3:0', { all: true })
    await score('3:1', { all: true })
    await there.until('all', () => there.messages(feed).length === 3)
    t.same(texts(there, feed), ['1:0', 'news', '2:0'])
    t.match(there.messages(feed).at(-1), { collapseKey: 'score', collapses: 1 })
    const inFeed = ['collapsed', 'news', '2:0']
    const late = await alice.connect({ device: 'late', node: 1 })
    t.same(texts(late, feed), inFeed, 'catching up on a socket')
    t.notMatch(late.raw.join(), /1:0|3:0/)
    t.same(textsOf(await history(w, alice, feed)), inFeed, 'history')
    const missed = (await offline(w, alice, 'device=tv')) as (Seen & { conversation: string })[]
    t.same(textsOf(missed.filter((one) => one.conversation === feed)), inFeed, 'offline')
    const single = await w.http<Seen>('GET', `messages/${message!.id}`, { token: alice.token })
    t.match(single.body, { type: 'collapsed', collapsedAt: Number })
    t.notOk('content' in single.body)
    await stored(w, feed, 3)
    await stored(w, EVERYONE, message!.seq + 1)
    await w.redis.del(w.keys.log(feed), w.keys.fold(feed))
    t.same(textsOf(await history(w, alice, feed)), inFeed, 'from MySQL')
    const rows = await w.store.use((db) =>
      db.select<{ content: string }>('SELECT content FROM entries WHERE conversation = ? ORDER BY seq', [feed]),
    )
    t.equal(rows[0]!.content, '', 'what it said is gone there, too')
    await score('4:0')
    await there.until('the next', () => there.messages(feed).length === 4)
    t.same(
      textsOf(await history(w, alice, feed)),
      ['collapsed', 'news', 'collapsed', '4:0'],
      'also of one that lies in MySQL alone',
    )
  },
)
