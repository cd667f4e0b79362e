import { AppError, optionsText, parseOptions } from '@tidings/protocol'
import t from 'tap'
import { type AppendItem, createAppender, createLogReader, decodeEntry, FIELDS, onceValue } from '../src/index.js'
import { bench, until } from './stores.js'

let made = 1_000
const item = (over: Partial<AppendItem> = {}): AppendItem => ({
  id: String(made++),
  conversation: 'dm:alice:bob',
  from: 'alice',
  type: 'text',
  content: '{"text":"hello"}',
  clientId: '',
  sentAt: 1_763_700_000_000,
  trace: '',
  ...over,
})

t.test('seq rises by one, and log and stream hold the same in plain fields', async (t) => {
  const { redis, keys, metrics, generations } = await bench(t)
  const appender = createAppender({ redis, keys, replicas: 0, generations, metrics })
  const all = await Promise.all(Array.from({ length: 300 }, () => appender.append(item())))
  t.same(
    all.map(({ seq }) => seq),
    Array.from({ length: 300 }, (_, i) => i + 1),
    'in the order of the calls',
  )
  const p = keys.partitionOf('dm:alice:bob')
  t.equal(await redis.get(keys.seq('dm:alice:bob')), '300')
  const rows = await redis.xrange(keys.messages(p), '-', '+')
  t.equal(rows.length, 300)
  t.same(
    rows[0]![1].filter((_, i) => i % 2 === 0),
    FIELDS,
    'the fields of the contract, in order',
  )
  const log = await redis.xrange(keys.log('dm:alice:bob'), '-', '+')
  t.same(log.map(([id]) => id).slice(0, 2), ['1-0', '2-0'])
  const named = (fields: readonly string[]) =>
    fields.flatMap((name, i) => (i % 2 === 0 ? [[name, fields[i + 1]!]] : []))
  const inLog = ([name]: string[]): boolean => !['conversation', 'seq', 'trace'].includes(name!)
  t.same(named(log[299]![1]), named(rows[299]![1]).filter(inLog), 'but for what its key and its id say')
  t.equal(await redis.hget(keys.read('dm:alice:bob'), 'alice'), '300:300', "one's own send moves one's read position")
  t.ok(await redis.zscore(keys.recent(p), 'dm:alice:bob'))
  t.equal(appender.waiting, 0)
})

t.test('content of any characters is written as it is, beside others in one call', async (t) => {
  const { redis, keys, metrics, generations } = await bench(t)
  const appender = createAppender({ redis, keys, replicas: 0, generations, metrics })
  const contents = ['plain', 'é', '汉字', '👩‍👩‍👧', 'a\r\n$5', 'plain'].map((text) => JSON.stringify({ text }))
  await appender.append(item())
  await Promise.all(contents.map((content, i) => appender.append(item({ content, clientId: `c-${i}` }))))
  const log = await createLogReader(redis, keys).after('dm:alice:bob', 1, 10)
  t.same(
    log.map(({ content }) => content),
    contents,
  )
  t.match(await appender.append(item({ content: contents[2]!, clientId: 'c-2' })), { seq: 4, duplicate: true })
})

t.test('n counts what a person counts as messages', async (t) => {
  const { redis, keys, metrics, generations } = await bench(t)
  const appender = createAppender({ redis, keys, replicas: 0, generations, metrics })
  for (const type of ['text', 'edit', 'x-app', 'reaction', 'image']) await appender.append(item({ type }))
  const entries = await createLogReader(redis, keys).after('dm:alice:bob', 0, 10)
  t.same(
    entries.map(({ seq, n }) => [seq, n]),
    [
      [1, 1],
      [2, 1],
      [3, 2],
      [4, 2],
      [5, 3],
    ],
  )
})

t.test('n is right within one call too, and after what an earlier one has skipped', async (t) => {
  const { redis, keys, metrics, generations } = await bench(t)
  const appender = createAppender({ redis, keys, replicas: 0, generations, metrics })
  const [other] = ['dm:carol:dave']
  for (let call = 0; call < 2; call++) {
    const types = ['text', 'edit', 'recall', 'text']
    await Promise.all([
      ...types.map((type) => appender.append(item({ type }))),
      appender.append(item({ conversation: other!, from: 'carol' })),
    ])
  }
  const read = async (conversation: string) =>
    (await createLogReader(redis, keys).after(conversation, 0, 10)).map(({ seq, n }) => [seq, n])
  const expected = [1, 1, 1, 2, 3, 3, 3, 4].map((n, i) => [i + 1, n])
  t.same(await read('dm:alice:bob'), expected)
  t.equal(await redis.get(keys.skip('dm:alice:bob')), '4')
  t.same(await read(other!), [
    [1, 1],
    [2, 2],
  ])
  t.equal(await redis.get(keys.skip(other!)), null)
})

t.test('promise 3: the same clientId is appended once, and another body is a conflict', async (t) => {
  const { redis, keys, metrics, generations } = await bench(t)
  const appender = createAppender({ redis, keys, replicas: 0, generations, metrics })
  const first = await appender.append(item({ clientId: 'c-1' }))
  const again = await appender.append(item({ clientId: 'c-1', sentAt: 99 }))
  t.same({ ...again, duplicate: false }, first, 'the answer first given')
  t.equal(again.duplicate, true)
  await t.rejects(appender.append(item({ clientId: 'c-1', content: '{"text":"other"}' })), {
    code: 'idempotency_conflict',
  })
  await t.rejects(appender.append(item({ clientId: 'c-1', type: 'image' })), { code: 'idempotency_conflict' })
  const [a, b] = await Promise.all([
    appender.append(item({ clientId: 'c-2' })),
    appender.append(item({ clientId: 'c-2' })),
  ])
  t.same([a!.seq, b!.seq, a!.duplicate, b!.duplicate], [2, 2, false, true], 'also within one call')
  const other = await appender.append(item({ clientId: 'c-1', from: 'bob' }))
  t.equal(other.seq, 3, 'another sender has keys of its own')
  const ttl = await redis.ttl(keys.once('dm:alice:bob', 'alice', 'c-1'))
  t.ok(ttl > 86_000 && ttl <= 86_400)
})

t.test('a send is known by what was sent, whatever was appended in its place', async (t) => {
  const { redis, keys, metrics, generations } = await bench(t)
  const appender = createAppender({ redis, keys, replicas: 0, generations, metrics })
  const sent = '{"text":"so bad"}'
  const masked = '{"text":"so ***"}'
  const first = await appender.append(item({ content: masked, sent, clientId: 'c-1' }))
  t.match(await createLogReader(redis, keys).after('dm:alice:bob', 0, 10), [{ content: masked }])
  const again: Partial<AppendItem>[] = [
    { content: masked, sent },
    { content: sent, sent },
    { content: sent },
    { content: '{"text":"** ***"}', sent },
  ]
  for (const one of again) {
    t.match(await appender.append(item({ ...one, clientId: 'c-1' })), { id: first.id, seq: 1, duplicate: true })
  }
  const others: Partial<AppendItem>[] = [{ content: masked }, { content: masked, sent: '{"text":"so sad"}' }]
  for (const one of others) {
    await t.rejects(appender.append(item({ ...one, clientId: 'c-1' })), { code: 'idempotency_conflict' })
  }
  await appender.append(item({ content: sent, clientId: 'c-2' }))
  t.match(await appender.append(item({ content: masked, sent, clientId: 'c-2' })), { seq: 2, duplicate: true })
  // As it comes back from MySQL, which has what was appended and nothing else.
  const stored = { id: '7', seq: 3, type: 'text', content: masked, sentAt: 1 }
  await redis.set(keys.once('dm:alice:bob', 'alice', 'c-3'), onceValue(stored))
  t.match(await appender.append(item({ content: masked, sent, clientId: 'c-3' })), { id: '7', duplicate: true })
})

t.test('what must not be appended is not; but what was accepted before stays so', async (t) => {
  const { redis, keys, metrics, generations } = await bench(t)
  const appender = createAppender({ redis, keys, replicas: 0, generations, metrics })
  const refusal = new AppError('word_rejected')
  const first = await appender.append(item({ clientId: 'c-1' }))
  const answers = await Promise.allSettled([
    appender.append(item({ clientId: 'c-1', refusal })),
    appender.append(item({ clientId: 'c-1', refusal, content: '{}' })),
    appender.append(item({ clientId: 'c-2', refusal })),
    appender.append(item({ clientId: 'c-3', refusal, conversation: 'room:abcdefgh12345678', members: 'check' })),
    appender.append(item()),
  ])
  t.match(answers, [
    { value: { id: first.id, seq: 1, duplicate: true } },
    { reason: { code: 'idempotency_conflict' } },
    { reason: refusal },
    { reason: refusal },
    { value: { seq: 2 } },
  ])
  t.equal(await redis.exists(keys.once('dm:alice:bob', 'alice', 'c-2')), 0)
  t.equal(await redis.exists(keys.log('room:abcdefgh12345678')), 0)
})

t.test('a key of the wrong type fails its own items alone, and no seq is used', async (t) => {
  const { redis, keys, metrics, generations } = await bench(t, 1)
  const appender = createAppender({ redis, keys, replicas: 0, generations, metrics })
  await appender.append(item())
  await redis.hset(keys.seq('dm:carol:dave'), 'x', '1')
  await redis.set(keys.log('dm:erin:frank'), 'x')
  const results = await Promise.allSettled([
    appender.append(item()),
    appender.append(item({ conversation: 'dm:carol:dave', from: 'carol' })),
    appender.append(item({ conversation: 'dm:erin:frank', from: 'erin' })),
    appender.append(item()),
  ])
  t.same(
    results.map(({ status }) => status),
    ['fulfilled', 'rejected', 'rejected', 'fulfilled'],
  )
  t.match(results[1], { reason: { code: 'unavailable' } })
  t.equal(await redis.get(keys.seq('dm:erin:frank')), null)
  t.equal(await redis.xlen(keys.messages(0)), 3, 'nothing of the failed ones is in the stream')
  await redis.hset(keys.skip('dm:gina:hugo'), 'x', '1')
  const skipping = appender.append(item({ conversation: 'dm:gina:hugo', from: 'gina' }))
  await Promise.all([t.rejects(skipping, { code: 'unavailable' }), appender.append(item())])
  t.equal(await redis.get(keys.seq('dm:alice:bob')), '4')
})

t.test('an index of the wrong type fails its own partition alone', async (t) => {
  const { redis, keys, metrics, generations } = await bench(t, 16)
  const appender = createAppender({ redis, keys, replicas: 0, generations, metrics })
  const [broken, well] = ['dm:carol:dave', 'dm:erin:frank'] as const
  t.not(keys.partitionOf(broken), keys.partitionOf(well))
  await redis.set(keys.recent(keys.partitionOf(broken)), 'x')
  const [refused, good] = await Promise.allSettled([
    appender.append(item({ conversation: broken, from: 'carol' })),
    appender.append(item({ conversation: well, from: 'erin' })),
  ])
  t.match(refused, { status: 'rejected', reason: { code: 'unavailable' } })
  t.match(good, { status: 'fulfilled', value: { seq: 1 } })
  t.equal(await redis.exists(keys.seq(broken), keys.log(broken)), 0, 'nothing of it was written')
})

t.test('what waits in one partition holds up no other, though they share a call', async (t) => {
  const { redis, keys, metrics, generations } = await bench(t, 16)
  let asked = 0
  let help = (): void => undefined
  const helped = new Promise<void>((resolve) => {
    help = resolve
  })
  const [slow, broken, well] = ['dm:alice:bob', 'dm:carol:dave', 'dm:erin:frank'] as const
  t.equal(new Set([slow, broken, well].map(keys.partitionOf)).size, 3)
  const appender = createAppender({
    ...{ redis, keys, replicas: 0, metrics },
    generations: {
      ...generations,
      async open(partition) {
        if (partition === keys.partitionOf(slow)) {
          asked++
          await helped
        }
        await generations.open(partition)
      },
    },
  })
  await redis.hset(keys.generation(keys.partitionOf(broken)), 'x', '1')
  const first = appender.append(item({ conversation: slow }))
  const [refused, good] = await Promise.allSettled([
    appender.append(item({ conversation: broken, from: 'carol' })),
    appender.append(item({ conversation: well, from: 'erin' })),
  ])
  t.match(refused, { status: 'rejected', reason: { code: 'unavailable' } })
  t.match(good, { status: 'fulfilled', value: { seq: 1 } })
  const second = appender.append(item({ conversation: slow }))
  t.equal((await appender.append(item({ conversation: well, from: 'erin' }))).seq, 2)
  t.equal(appender.waiting, 2)
  help()
  t.same([(await first).seq, (await second).seq], [1, 2], 'in their order')
  t.equal(asked, 1)
  await appender.idle()
})

t.test('a partition that always has more than a call takes does not keep the others waiting', async (t) => {
  const { redis, keys, metrics, generations } = await bench(t, 16)
  const [busy, others] = ['dm:alice:bob', ['dm:carol:dave', 'dm:erin:frank']] as const
  t.equal(new Set([busy, ...others].map(keys.partitionOf)).size, 3)
  const appender = createAppender({ redis, keys, replicas: 0, generations, metrics })
  // The generations are opened first: what waits for that is another matter.
  for (const conversation of [busy, ...others]) await appender.append(item({ conversation }))
  let going = true
  let done = 0
  const refill = async (): Promise<void> => {
    while (going) {
      await appender.append(item())
      done++
    }
  }
  const load = Promise.all(Array.from({ length: 1_500 }, refill))
  const behind = others.map(async (conversation) => {
    await appender.append(item({ conversation }))
    return done
  })
  // Far more than what waited before them; by then they are through, or never.
  const enough = until('ten rounds of the busy one', () => done > 15_000 || !going)
  const waited = await Promise.race([Promise.all(behind), enough])
  going = false
  await load
  for (const after of waited ?? [Number.POSITIVE_INFINITY]) t.ok(after <= 512, `after ${after} of the busy one`)
})

t.test('a stream that refuses leaves the seq free', async (t) => {
  const { redis, keys, metrics, generations } = await bench(t, 1)
  const appender = createAppender({ redis, keys, replicas: 0, generations, metrics })
  await appender.append(item())
  const stream = await redis.dump(keys.messages(0))
  t.ok(stream)
  await redis.rename(keys.messages(0), `${keys.messages(0)}:aside`)
  await redis.set(keys.messages(0), 'not a stream')
  await t.rejects(appender.append(item()), { code: 'unavailable' })
  await t.rejects(appender.append(item({ conversation: 'dm:new:one', from: 'new' })), { code: 'unavailable' })
  await redis.del(keys.messages(0))
  await redis.rename(`${keys.messages(0)}:aside`, keys.messages(0))
  t.equal((await appender.append(item())).seq, 2)
  t.equal((await appender.append(item({ conversation: 'dm:new:one', from: 'new' }))).seq, 1)
})

t.test('Redis itself refuses a seq that was given out before', async (t) => {
  const { redis, keys, metrics, generations } = await bench(t)
  const appender = createAppender({ redis, keys, replicas: 0, generations, metrics })
  await appender.append(item())
  await appender.append(item())
  await redis.set(keys.seq('dm:alice:bob'), '1')
  await t.rejects(appender.append(item()), { code: 'unavailable' })
  const log = await createLogReader(redis, keys).after('dm:alice:bob', 0, 10)
  t.equal(log.length, 2)
})

t.test('the script is sent again after SCRIPT FLUSH, and once', async (t) => {
  const { redis, keys, metrics, generations } = await bench(t)
  const appender = createAppender({ redis, keys, replicas: 0, generations, metrics })
  await appender.append(item())
  await redis.script('FLUSH')
  t.equal((await appender.append(item())).seq, 2)
})

t.test('a replica that is not there leaves the outcome unknown; nothing is said to be accepted', async (t) => {
  const { redis, keys, metrics, generations } = await bench(t)
  const appender = createAppender({ redis, keys, replicas: 1, generations, metrics })
  await t.rejects(appender.append(item({ clientId: 'c-9' })), { code: 'outcome_unknown', retryAfter: 1 })
})

t.test('without Redis: refused at once, and nothing is queued', async (t) => {
  const { connect, keys, metrics, generations } = await bench(t)
  const redis = await connect()
  const appender = createAppender({ redis, keys, replicas: 0, generations, metrics })
  redis.disconnect()
  await until('disconnected', () => redis.status !== 'ready')
  const began = performance.now()
  await t.rejects(appender.append(item()), { code: 'unavailable', retryAfter: 1 })
  t.ok(performance.now() - began < 500)
})

t.test('a queue that is full says so', async (t) => {
  const { redis, keys, metrics, generations } = await bench(t)
  const appender = createAppender({ redis, keys, replicas: 0, generations, metrics })
  const results = await Promise.allSettled(Array.from({ length: 5_000 }, () => appender.append(item())))
  const refused = results.filter((r) => r.status === 'rejected')
  t.equal(refused.length, 5_000 - 4_096)
  t.match(refused[0], { reason: { code: 'overloaded' } })
})

t.test('the few entries with options have them in log and stream, and others have no word of them', async (t) => {
  const { redis, keys, metrics, generations } = await bench(t)
  const appender = createAppender({ redis, keys, replicas: 0, generations, metrics })
  const options = '{"expiresAt":1763700060000,"priority":"high"}'
  const given = { conversation: 'feed:bob', from: 'service:shop', type: 'system' }
  const two = await Promise.all([appender.append(item({ ...given, options })), appender.append(item(given))])
  t.same(
    two.map(({ seq }) => seq),
    [1, 2],
  )
  const p = keys.partitionOf('feed:bob')
  const rows = await redis.xrange(keys.messages(p), '-', '+')
  t.same(
    rows.map(([, fields]) => fields.length),
    [2 * FIELDS.length + 2, 2 * FIELDS.length],
  )
  const log = await createLogReader(redis, keys).after('feed:bob', 0, 10)
  t.same(
    log.map((entry) => [entry.n, entry.from, entry.options]),
    [
      [1, 'service:shop', options],
      [2, 'service:shop', undefined],
    ],
  )
  t.same(
    rows.map(([, fields]) => decodeEntry(fields, p, keys.partitionOf).options),
    [options, undefined],
  )
  for (const [about, name, value] of [
    ['options by hand', 'options', '{"expiresAt":"soon"}'],
    ['a sender by hand', 'from', 'service:a b'],
  ] as const) {
    const [, fields] = rows[0]!
    const forged = fields.map((field, i) => (fields[i - 1] === name ? value : field))
    t.throws(() => decodeEntry(forged, p, keys.partitionOf), { name: 'PoisonError' }, about)
  }
})

t.test('of what is pushed with one key only the newest says something; the others are stubs', async (t) => {
  const { redis, keys, metrics, generations } = await bench(t)
  const appender = createAppender({ redis, keys, replicas: 0, generations, metrics })
  const push = (collapseKey: string | undefined, over: Partial<AppendItem> = {}) =>
    appender.append(
      item({
        ...{ conversation: 'feed:bob', from: 'service:shop', type: 'system', collapseKey },
        options: optionsText({ expiresAt: 1_763_700_060_000, ...(collapseKey !== undefined && { collapseKey }) }),
        ...over,
      }),
    )
  // All in one call, between messages: every item finds its own keys.
  await Promise.all([
    push('score'),
    push('other'),
    appender.append(item()),
    push('score'),
    push(undefined),
    push('score', { from: 'service:crm' }),
    push('score', { conversation: 'feed:*' }),
    push('score', { clientId: 'c' }),
    push('score', { clientId: 'c' }),
  ])
  const reader = createLogReader(redis, keys)
  const seen = (await reader.after('feed:bob', 0, 10)).map(
    ({ seq, type, content }) => `${seq} ${type} ${content.length}`,
  )
  t.same(seen, ['1 collapsed 0', '2 system 16', '3 collapsed 0', '4 system 16', '5 system 16', '6 system 16'])
  const newest = (await reader.after('feed:bob', 5, 1))[0]!
  t.match(parseOptions(newest.options!), { collapseKey: 'score', collapses: 3, expiresAt: 1_763_700_060_000 })
  t.equal(newest.n, 6, 'each counts')
  t.match(await reader.newest(['feed:*']), [{ type: 'system' }])
  t.ok((await redis.ttl(keys.collapse('feed:bob', 'service:shop', 'score'))) > 29 * 86_400)
  t.equal(await redis.get(keys.collapse('feed:bob', 'service:shop', 'score')), '6')
  await redis.hset(keys.fold('feed:bob'), '6', 'last 6 7 8 0-0\ngone recalled 6 8 carol')
  await push('score')
  t.match((await reader.after('feed:bob', 5, 1))[0], { type: 'recalled' }, 'what is gone stays as it is')
})
