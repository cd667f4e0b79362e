import { AppError } from '@tidings/protocol'
import t from 'tap'
import { type Delivery, ensureGroups, PoisonError, readLag } from '../src/index.js'
import { appenderOf, collect, consumer, fieldsOf, item, pendingOf } from './parts.js'
import { bench, until } from './stores.js'

t.test('entries come in order, are settled, and the mark follows', async (t) => {
  const b = await bench(t, 1)
  const seen: Delivery[] = []
  const one = await consumer(t, b, collect(seen))
  const appender = appenderOf(b)
  await appender.append(item())
  one.own(0, 7)
  const sent = await Promise.all(Array.from({ length: 500 }, () => appender.append(item())))
  await until('all seen', () => seen.length === 501)
  t.same(
    seen.map(({ entry }) => entry.seq),
    Array.from({ length: 501 }, (_, i) => i + 1),
  )
  t.equal(seen[0]!.fence, 7)
  await until('all settled', async () => (await pendingOf(b, 0)) === 0)
  const last = sent.at(-1)!.streamId
  const mark = (await b.redis.get(b.keys.mark(0, 'persist')))!
  t.equal(mark.split('-')[0], last.split('-')[0])
  t.equal(Number(mark.split('-')[1]), Number(last.split('-')[1]) + 1, 'just above the last one')
  t.match(await readLag(b.redis, b.keys, 'persist', [0]), [{ lag: 0, pending: 0, length: 501, dead: 0 }])
})

t.test('a fence that is too low settles nothing and ends the ownership', async (t) => {
  const b = await bench(t, 1)
  const appender = appenderOf(b)
  await b.redis.set(b.keys.fence(0, 'persist'), '9')
  const one = await consumer(t, b, collect([]))
  one.own(0, 8)
  await appender.append(item())
  await until('it stops', () => !one.owned.has(0))
  t.equal(await pendingOf(b, 0), 1, 'still pending, for the newer owner')
})

t.test('entries written by hand: broken ones are set aside with a reason, and the next goes on', async (t) => {
  const b = await bench(t, 1)
  const broken: [string, string[], RegExp][] = [
    ['no fields of ours', ['hello', 'world'], /id is missing/],
    ['a missing field', ['id', '1', 'conversation', 'dm:alice:bob'], /seq is missing/],
    ['content that is not JSON', fieldsOf({ content: '{"a":' }), /not JSON/],
    ['content that is no object', fieldsOf({ content: '[1]' }), /not a JSON object/],
    ['an id that is not decimal', fieldsOf({ id: 'abc' }), /64-bit/],
    ['an id beyond 64 bits', fieldsOf({ id: '9999999999999999999' }), /64-bit/],
    ['a seq of words', fieldsOf({ seq: 'ten' }), /seq/],
    ['a seq of 0', fieldsOf({ seq: '0' }), /seq/],
    ['no conversation', fieldsOf({ conversation: 'dm:bob:alice' }), /conversation/],
    ['a sender from outside', fieldsOf({ from: 'mallory' }), /not in the conversation/],
    ['an unknown type', fieldsOf({ type: 'hologram' }), /type/],
    ['10 MiB', fieldsOf({ content: `{"a":"${'x'.repeat(10 << 20)}"}` }), /too large/],
    ['a clientId that would break the frame', fieldsOf({ clientId: '","op":"x' }), /clientId/],
  ]
  for (const [, fields] of broken) await b.redis.xadd(b.keys.messages(0), '*', ...fields)
  await b.redis.xadd(b.keys.messages(0), '*', ...fieldsOf({}))
  const seen: Delivery[] = []
  const buried: string[] = []
  const one = await consumer(t, b, {
    ...collect(seen),
    async bury(_owner, _fields, reason) {
      buried.push(reason)
    },
  })
  one.own(0, 1)
  await until('the good one arrives', () => seen.length === 1)
  await until('all letters', async () => (await b.redis.xlen(b.keys.dead(0, 'persist'))) === broken.length)
  const dead = await b.redis.xrange(b.keys.dead(0, 'persist'), '-', '+')
  t.equal(dead.length, broken.length)
  for (const [i, [name, fields, reason]] of broken.entries()) {
    const letter = dead[i]![1]
    t.same(letter.slice(0, fields.length), fields, `${name}: as it was found`)
    t.match(letter[letter.indexOf('reason') + 1], reason, name)
    t.ok(letter.includes('deliveries') && letter.includes('entry'))
  }
  t.equal(buried.length, broken.length)
  await until('nothing is pending', async () => (await pendingOf(b, 0)) === 0)
})

t.test('an entry for another partition is dead', async (t) => {
  const b = await bench(t, 4)
  const wrong = (b.keys.partitionOf('dm:alice:bob') + 1) % 4
  await b.redis.xadd(b.keys.messages(wrong), '*', ...fieldsOf({}))
  const one = await consumer(t, b, collect([]))
  one.own(wrong, 1)
  await until('a dead letter', async () => (await b.redis.xlen(b.keys.dead(wrong, 'persist'))) === 1)
})

t.test('a dependency that is away pauses, counts against no entry, and loses nothing', async (t) => {
  const b = await bench(t, 1)
  const appender = appenderOf(b)
  const seen: Delivery[] = []
  let calls = 0
  const one = await consumer(t, b, {
    async handle(batch) {
      calls++
      if (calls <= 4) throw new AppError('unavailable', 'away')
      seen.push(...batch)
      return {}
    },
  })
  one.own(0, 1)
  for (let i = 0; i < 3; i++) await appender.append(item())
  await until('all arrive', () => seen.length === 3)
  t.equal(await b.redis.xlen(b.keys.dead(0, 'persist')), 0)
})

t.test('one bad entry harms no other: it alone is tried five times and set aside', async (t) => {
  const b = await bench(t, 1)
  const appender = appenderOf(b)
  for (let i = 0; i < 5; i++) await appender.append(item())
  await ensureGroups(b.redis, b.keys, 'persist', [0])
  const done: number[] = []
  let tries = 0
  const one = await consumer(t, b, {
    async handle(batch) {
      if (batch.some(({ entry }) => entry.seq === 3)) {
        if (batch.length === 1) tries++
        throw new Error('cannot digest 3')
      }
      if (batch.some(({ entry }) => entry.seq === 4)) throw new PoisonError('4 is poison')
      done.push(...batch.map(({ entry }) => entry.seq))
      return {}
    },
  })
  one.own(0, 1)
  await until('two letters', async () => (await b.redis.xlen(b.keys.dead(0, 'persist'))) === 2)
  t.same(done, [1, 2, 5])
  t.equal(tries, 5)
  const letters = await b.redis.xrange(b.keys.dead(0, 'persist'), '-', '+')
  t.match(
    letters.map(([, fields]) => fields.slice(-5, -1)),
    [
      ['cannot digest 3', 'deliveries', '5', 'entry'],
      ['4 is poison', 'deliveries', '1', 'entry'],
    ],
  )
})

t.test(
  'a partition is given up also while what its group needs is away, and the next owner has what was in hand',
  async (t) => {
    const b = await bench(t, 2)
    const appender = appenderOf(b)
    let away = true
    let tried = 0
    const lame = await consumer(t, b, {
      async handle() {
        tried++
        if (away) throw new AppError('unavailable')
        return {}
      },
    })
    const names = [
      'dm:alice:bob',
      'dm:alice:carol',
      'dm:alice:dave',
      'dm:alice:erin',
      'dm:alice:frank',
      'dm:alice:grace',
    ]
    const [there, kept] = [0, 1].map((p) => names.find((name) => b.keys.partitionOf(name) === p)!) as [string, string]
    await Promise.all(
      [there, kept].flatMap((conversation) => [1, 2, 3].map(() => appender.append(item({ conversation })))),
    )
    lame.own(0, 1)
    lame.own(1, 1)
    await until('it has tried', () => tried > 1)
    await lame.release(0)
    t.equal(await pendingOf(b, 0), 3)
    const seen: Delivery[] = []
    const next = await consumer(t, b, collect(seen), { name: 'next' })
    next.own(0, 2)
    await until('the next owner has them', () => seen.length === 3)
    t.same(
      seen.map(({ entry }) => [entry.conversation, entry.seq]),
      [
        [there, 1],
        [there, 2],
        [there, 3],
      ],
    )
    away = false
    await until('what it kept is settled', async () => (await pendingOf(b, 1)) === 0)
    await until('and the rest by the other', async () => (await pendingOf(b, 0)) === 0)
  },
)
