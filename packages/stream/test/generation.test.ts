import t from 'tap'
import {
  type AppendItem,
  closedAs,
  closeGeneration,
  createAppender,
  createLogReader,
  type Delivery,
  decideOpening,
  ensureGroups,
  GENERATION_SEQS,
  type Ledger,
  type LedgerRow,
  leapConversation,
  onceValue,
  openGeneration,
  planLeap,
  readGeneration,
  startConsumer,
} from '../src/index.js'
import { type Bug, simulate } from './generation.sim.js'
import { bench, generationsOf, log, until } from './stores.js'

const C = 'dm:alice:bob'
let made = 5_000
const item = (over: Partial<AppendItem> = {}): AppendItem => ({
  id: String(made++),
  conversation: C,
  from: 'alice',
  type: 'text',
  content: '{"text":"hello"}',
  clientId: '',
  sentAt: 1_763_700_000_000,
  trace: '',
  ...over,
})
const nothing = async () => ({ seq: 0, n: 0, sends: [], newer: false })

t.test('what a record and the ledger say decides whether something may be lost', async (t) => {
  const open = { number: 3, closed: '' }
  t.same(decideOpening({ number: 3, server: 'aa' }, 'aa', open), { kind: 'current', number: 3 })
  t.same(
    decideOpening({ number: 3, server: 'aa' }, 'aa', { number: 4, closed: '' }),
    { kind: 'lost', number: 5 },
    'it was replaced',
  )
  t.same(decideOpening(undefined, 'aa', undefined), { kind: 'first', number: 1 })
  t.same(decideOpening({ number: 3, server: 'aa' }, 'bb', open), { kind: 'lost', number: 4 }, 'another server')
  t.same(decideOpening(undefined, 'aa', open), { kind: 'lost', number: 4 }, 'flushed')
  t.same(decideOpening({ number: 3, server: 'aa' }, 'bb', undefined), { kind: 'lost', number: 4 }, 'the ledger is gone')
  const closed = { number: 3, server: closedAs('w') }
  t.same(decideOpening(closed, 'bb', { number: 3, closed: 'w' }), { kind: 'reopened', number: 3 })
  t.same(decideOpening(closed, 'bb', { number: 3, closed: 'x' }), { kind: 'lost', number: 4 }, 'an older stop')
  t.same(decideOpening(closed, 'bb', open), { kind: 'lost', number: 4 }, 'it was opened again, and that was forgotten')
})

t.test('a leap goes beyond everything that another generation may have given', async (t) => {
  const stored = { seq: 12, n: 9 }
  t.same(planLeap({ head: 10, n: 7, logTop: 10, stored }, 2), { from: 13, to: 2 * GENERATION_SEQS, n: 9 })
  t.same(planLeap({ head: 0, n: 0, logTop: 0, stored: { seq: 0, n: 0 } }, 5).to, 5 * GENERATION_SEQS)
  const long = planLeap({ head: 3 * GENERATION_SEQS, n: 1, logTop: 0, stored }, 2)
  t.ok(long.to > 3 * GENERATION_SEQS && long.from === 3 * GENERATION_SEQS + 1, 'also for one that is longer than that')
})

t.test('the simulator: no seq is given twice under any order of losses, and every bug is found', async (t) => {
  const result = simulate(20_000, 1)
  t.ok(result.accepted > 100_000 && result.leaps > 20_000 && result.lost > 20_000, JSON.stringify(result))
  const bugs: Bug[] = ['no leap', 'leap without number', 'trust a closed record', 'number from redis', 'no clip']
  for (const bug of bugs) t.throws(() => simulate(50_000, 1, bug), /schedule with seed/, bug)
})

t.test(
  'an append opens its partition; under another server it leaps, and says so in the log and the stream',
  async (t) => {
    const { redis, keys, metrics, generations } = await bench(t, 1)
    const appender = createAppender({ redis, keys, replicas: 0, generations, metrics })
    t.match(await appender.append(item()), { seq: 1, generation: 1 })
    await appender.append(item({ type: 'edit' }))
    t.match((await redis.get(keys.generation(0)))!, /^1 [0-9a-f]{40}$/)
    // As after a failover: the record names a server that is not this one.
    await redis.set(keys.generation(0), `1 ${'a'.repeat(40)}`)
    const [third, fourth] = await Promise.all([appender.append(item()), appender.append(item())])
    const first = 2 * GENERATION_SEQS + 1
    t.match([third, fourth], [{ seq: first, generation: 2 }, { seq: first + 1 }])
    const log = await createLogReader(redis, keys).after(C, 0, 10)
    t.match(log, [
      { seq: 1, n: 1 },
      { seq: 2, n: 1, type: 'edit' },
      { seq: first - 1, n: 1, type: 'void', from: '', id: '0', content: `{"from":3,"to":${first - 1}}` },
      { seq: first, n: 2 },
      { seq: first + 1, n: 3 },
    ])
    t.equal(await redis.xlen(keys.messages(0)), 5, 'persist learns of it in its place')
    t.match(await appender.append(item()), { seq: first + 2 }, 'once')
  },
)

t.test('a server that was replaced and never restarted comes back: its seqs are not gone on with', async (t) => {
  const { redis, keys, metrics, generations } = await bench(t, 1)
  const appender = createAppender({ redis, keys, replicas: 0, generations, metrics })
  await appender.append(item())
  const record = (await redis.get(keys.generation(0)))!
  await redis.set(keys.generation(0), `1 ${'a'.repeat(40)}`)
  t.match(await appender.append(item()), { seq: 2 * GENERATION_SEQS + 1, generation: 2 })
  // Everything as it was on the first server, which still runs.
  await redis.set(keys.generation(0), record)
  await redis.set(keys.seq(C), 1)
  await redis.del(keys.leapt(0), keys.log(C))
  t.match(await appender.append(item()), { seq: 3 * GENERATION_SEQS + 1, generation: 3 })
})

t.test('what a worker has in hand when entries were lost is not settled in the place of a newer entry', async (t) => {
  const { redis, keys, metrics, generations } = await bench(t, 1)
  const appender = createAppender({ redis, keys, replicas: 0, generations, metrics })
  await ensureGroups(redis, keys, 'push', [0])
  const seen: Delivery[] = []
  let letGo = (): void => undefined
  const held = new Promise<void>((resolve) => {
    letGo = resolve
  })
  const refused: number[] = []
  const consumer = startConsumer({
    ...{
      group: 'push',
      consumer: 'one',
      keys,
      redis,
      window: 1,
      gatherMs: 0,
      gatherFrom: 0,
      roundMs: 0,
      settleMs: 25,
      metrics,
      log,
    },
    handler: {
      async handle(batch) {
        seen.push(...batch)
        if (seen.length === 1) await held
        return {}
      },
    },
    onDisowned: (_, __, by) => refused.push(by),
  })
  t.teardown(() => consumer.stop())
  consumer.own(0, 7)
  const lost = await appender.append(item())
  await until('in hand', () => seen.length === 1)
  // Another server took over, which had this entry neither in its stream nor in the group's list, but had the fence.
  await redis.set(keys.fence(0, 'push'), 7)
  await redis.del(keys.messages(0), keys.log(C), keys.seq(C))
  await ensureGroups(redis, keys, 'push', [0])
  await redis.set(keys.generation(0), `1 ${'a'.repeat(40)}`)
  await generations.open(0)
  const next = { ...item(), seq: 2 * GENERATION_SEQS + 1 }
  const fields = { v: 1, ...next, n: 1, type: 'text', at: 1, sentAt: 1 }
  await redis.xadd(keys.messages(0), lost.streamId, ...Object.entries(fields).flat().map(String))
  letGo()
  await until('refused', () => refused.length > 0)
  t.same(refused, [8])
  consumer.own(0, 9)
  await until('read', () => seen.length > 1)
  t.match(seen[1]!.entry, { id: next.id, seq: next.seq })
})

t.test('after a flush the ledger remembers, and what MySQL knows comes back', async (t) => {
  const { redis, keys, metrics } = await bench(t, 1)
  const rows = new Map<number, LedgerRow>()
  const stored = { id: '77', seq: 40, type: 'text', content: '{"text":"stored"}', sentAt: 5 }
  const generations = {
    ...generationsOf(redis, keys, rows),
    async leap() {
      const send = { from: 'alice', clientId: 'c-40', value: onceValue(stored), ageMs: 1_000 }
      await leapConversation(redis, keys, C, async () => ({ seq: 40, n: 38, sends: [send], newer: false }))
    },
  }
  const appender = createAppender({ redis, keys, replicas: 0, generations, metrics })
  await appender.append(item())
  await redis.del(await redis.keys(`${keys.namespace}:*`))
  t.match(
    await appender.append(item({ clientId: 'c-40', content: stored.content })),
    { id: '77', seq: 40, sentAt: 5, duplicate: true },
    'a repetition gets the answer first given',
  )
  await t.rejects(appender.append(item({ clientId: 'c-40' })), { code: 'idempotency_conflict' })
  t.match(await appender.append(item()), { seq: 2 * GENERATION_SEQS + 1, duplicate: false })
  const [gone, next] = await createLogReader(redis, keys).after(C, 0, 10)
  t.match([gone, next], [{ content: `{"from":41,"to":${2 * GENERATION_SEQS}}` }, { n: 39 }])
})

t.test('a conversation that cannot have been there before begins at 1', async (t) => {
  const { redis, keys, metrics, generations } = await bench(t, 1)
  const appender = createAppender({
    ...{ redis, keys, replicas: 0, metrics },
    generations: {
      ...generations,
      async leap(_, conversations) {
        for (const one of conversations)
          await leapConversation(redis, keys, one, async () => ({ ...(await nothing()), newer: true }))
      },
    },
  })
  await appender.append(item())
  await redis.set(keys.generation(0), `1 ${'a'.repeat(40)}`)
  t.match(await appender.append(item({ conversation: 'dm:new1:new2', from: 'new1' })), { seq: 1, generation: 2 })
  t.match(await appender.append(item()), { seq: 2 * GENERATION_SEQS + 1 }, 'while an old one leaps all the same')
})

t.test('a stop in order loses nothing; one that was forgotten again does not count', async (t) => {
  const { redis, keys } = await bench(t, 1)
  let row: LedgerRow | undefined
  const ledger: Ledger = {
    read: async () => row,
    async write(seen, next) {
      if (row !== seen) return false
      row = next
      return true
    },
  }
  const open = () => openGeneration(redis, keys, 0, ledger)
  t.same(await open(), { kind: 'first', number: 1 })
  t.same(await open(), { kind: 'current', number: 1 })
  await closeGeneration(redis, keys, 0, ledger, 'w1')
  const closedRecord = (await redis.get(keys.generation(0)))!
  t.equal(closedRecord, '1 closed:w1')
  await redis.sadd(keys.leapt(0), 'dm:x:y')
  t.same(await open(), { kind: 'reopened', number: 1 })
  t.equal(await redis.exists(keys.leapt(0)), 1)
  t.match(await readGeneration(redis, keys, 0), { generation: { number: 1, server: /^[0-9a-f]{40}$/ } })
  await redis.set(keys.generation(0), closedRecord)
  t.same(await open(), { kind: 'lost', number: 2 }, 'as after a crash that took the opening with it')
  t.equal(await redis.exists(keys.leapt(0)), 0)
})

t.test(
  'a head that somebody deleted is found again from the log; wrong kinds of keys are a 503 and no seq',
  async (t) => {
    const { redis, keys, metrics, generations } = await bench(t, 1)
    const appender = createAppender({ redis, keys, replicas: 0, generations, metrics })
    for (let i = 0; i < 3; i++) await appender.append(item())
    await redis.del(keys.seq(C))
    t.match(await appender.append(item()), { seq: GENERATION_SEQS + 1 })
    await redis.set(keys.generation(0), `1 ${'a'.repeat(40)}`)
    const other = 'dm:alice:carol'
    await redis.set(keys.log(other), 'not a stream')
    await t.rejects(appender.append(item({ conversation: other })), { code: 'unavailable' })
    t.equal(await redis.get(keys.seq(other)), null)
    await redis.del(keys.log(other))
    t.match(await appender.append(item({ conversation: other })), { seq: 2 * GENERATION_SEQS + 1 })
  },
)

t.test('while nobody can help, an append is refused and nothing is written', async (t) => {
  const { redis, keys, metrics, generations } = await bench(t, 1)
  const away = async (): Promise<never> => {
    throw Object.assign(new Error('away'), { code: 'ECONNREFUSED' })
  }
  const stuck = createAppender({
    redis,
    keys,
    replicas: 0,
    generations: { open: away, leap: away, leapUsed: away, restoreMembers: away },
    metrics,
  })
  await t.rejects(stuck.append(item()), { code: 'unavailable' })
  t.equal(await redis.exists(keys.messages(0)), 0)
  const idle = createAppender({
    ...{ redis, keys, replicas: 0, metrics },
    generations: { open: async () => undefined, leap: away, leapUsed: away, restoreMembers: away },
  })
  await t.rejects(idle.append(item()), { code: 'unavailable' }, 'one who says it is open, and it is not')
  await generations.open(0)
  t.match(await stuck.append(item()), { seq: 1 })
})
