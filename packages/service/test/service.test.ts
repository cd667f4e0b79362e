import { Writable } from 'node:stream'
import { Counter, Histogram, Registry } from 'prom-client'
import t from 'tap'
import {
  backoffMs,
  Counts,
  createLogger,
  createMetrics,
  gather,
  groupBy,
  Histograms,
  Lifecycle,
  noTracing,
  Pacer,
  registered,
  stageMetrics,
  startOps,
  startTracing,
  traceparentOf,
} from '../src/index.js'

const silent = createLogger({ app: 'test', instance: 'test', level: 'silent' })

t.test('what was started last is stopped first, once, and a step that hangs does not hold up the others', async (t) => {
  const order: string[] = []
  const life = new Lifecycle(silent)
  life.add('first', () => void order.push('first'))
  life.add('hangs', () => new Promise<void>(() => undefined), 20)
  life.add('fails', () => Promise.reject(new Error('no')))
  life.add('last', async () => void order.push('last'))
  await Promise.all([life.stop(), life.stop()])
  t.same(order, ['last', 'first'])
})

t.test('what is asked together goes out together, and an item that fails fails alone', async (t) => {
  const calls: { items: number[]; answer: () => void }[] = []
  const answering = (items: number[]) =>
    new Promise<(string | Error)[]>((resolve) => {
      const answers = items.map((item) => (item === 3 ? new Error('not this one') : `answer ${item}`))
      calls.push({ items, answer: () => resolve(answers) })
    })
  const turn = () => new Promise((resolve) => setImmediate(resolve))
  const items = () => calls.map((call) => call.items)

  const patient = gather(answering, { mostPerCall: 3, callsAtOnce: 2, patienceMs: 60_000 })
  const asked = [1, 2, 3, 4, 5].map((item) => patient(item).catch((error: Error) => error.message))
  t.same(calls, [], 'nothing leaves within the turn')
  await turn()
  await turn()
  t.same(items(), [[1, 2, 3]], 'the others wait for it')
  calls[0]!.answer()
  t.same(await Promise.all(asked.slice(0, 3)), ['answer 1', 'answer 2', 'not this one'])
  asked.push(patient(6))
  await turn()
  t.same(items().slice(1), [[4, 5, 6]])
  calls[1]!.answer()
  t.same(await Promise.all(asked.slice(3)), ['answer 4', 'answer 5', 'answer 6'])

  calls.length = 0
  const hasty = gather(answering, { mostPerCall: 1, callsAtOnce: 2, patienceMs: 0 })
  const all = [7, 8, 9].map(hasty)
  while (calls.length < 2) await turn()
  for (let i = 0; i < 20; i++) await turn()
  t.same(items(), [[7], [8]], 'a call that hangs is not waited for, but no more run than may')
  calls[1]!.answer()
  while (calls.length < 3) await turn()
  calls[0]!.answer()
  calls[2]!.answer()
  t.same(await Promise.all(all), ['answer 7', 'answer 8', 'answer 9'])
})

t.test('the more a call carried, the longer the next one gathers, and a full one waits for nothing', (t) => {
  let now = 1_000
  const pacer = new Pacer({ perItemMs: 20, mostMs: 200 }, 32, () => now)
  t.equal(pacer.waitMs(1), 0, 'the first one goes at once')
  pacer.began(1)
  t.equal(pacer.waitMs(1), 20)
  now += 15
  t.equal(pacer.waitMs(1), 5, 'counted from the last call')
  now += 5
  t.equal(pacer.waitMs(1), 0)
  pacer.began(31)
  t.same([pacer.waitMs(1), pacer.waitMs(31), pacer.waitMs(32)], [200, 200, 0])
  now += 10_000
  t.equal(pacer.waitMs(1), 0, 'what comes after a rest is not held up')

  const callsFor = (perSecond: number): number => {
    const pacer = new Pacer({ perItemMs: 20, mostMs: 200 }, 32, () => now)
    let calls = 0
    let waiting = 0
    for (let ms = 0; ms < 10_000; ms++, now++) {
      if (Math.floor((ms * perSecond) / 1_000) > Math.floor(((ms - 1) * perSecond) / 1_000)) waiting++
      if (waiting === 0 || pacer.waitMs(waiting) > 0) continue
      pacer.began(waiting)
      waiting = 0
      calls++
    }
    return calls
  }
  t.equal(callsFor(20), 200, 'those that come seldom go by themselves')
  t.ok(callsFor(80) <= 60, 'those that come often are some ten together')
  t.ok(callsFor(1_000) >= 300, 'and of those that come faster still, as many as there may be')
  t.end()
})

t.test('calls that are paced carry more, and none is forgotten', async (t) => {
  const calls: number[][] = []
  const bounds = { mostPerCall: 4, callsAtOnce: 1, patienceMs: 1_000, pace: { perItemMs: 60_000, mostMs: 60_000 } }
  const paced = gather(async (items: number[]) => {
    calls.push(items)
    return items
  }, bounds)
  t.equal(await paced(1), 1)
  const held = [2, 3, 4].map(paced)
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve))
  t.same(calls, [[1]], 'three are not enough')
  t.same(await Promise.all([...held, paced(5)]), [2, 3, 4, 5], 'four are')
  t.same(calls, [[1], [2, 3, 4, 5]])

  const short = gather(async (items: number[]) => items, { ...bounds, pace: { perItemMs: 10, mostMs: 20 } })
  t.same(await Promise.all([short(1), short(2)]), [1, 2])
  t.equal(await short(3), 3, 'what is held up goes when its time has come')
})

t.test('a call that fails as a whole, or answers too little, fails all who wait for it', async (t) => {
  const bounds = { mostPerCall: 10, callsAtOnce: 1, patienceMs: 1_000 }
  const broken = gather<number, number>(() => Promise.reject(new Error('away')), bounds)
  await t.rejects(Promise.all([broken(1), broken(2)]), { message: 'away' })
  await t.rejects(broken(3), { message: 'away' }, 'the next one is asked all the same')
  const short = gather<number, number>(async () => [1], bounds)
  const [first, second] = await Promise.allSettled([short(1), short(2)])
  t.match([first, second], [{ status: 'fulfilled' }, { status: 'rejected' }])
})

t.test('tokens, passwords and contents never reach a log line', (t) => {
  let text = ''
  const sink = new Writable({
    write(chunk: Buffer, _encoding, done) {
      text += chunk.toString()
      done()
    },
  })
  const log = createLogger({ app: 'test', instance: 'i', level: 'info' }, sink)
  log.info({ token: 'canary1', a: { password: 'canary2', content: 'canary3' }, ok: 'shown\u001b[31m' }, 'line')
  const refused = Object.assign(new Error('OOM'), { command: { name: 'evalsha', args: ['canary4'] }, sql: 'canary5' })
  log.warn({ err: refused }, 'line')
  log.warn(refused)
  t.match(text, /OOM/, 'the reason stays')
  t.notMatch(text, /canary/)
  t.match(text, /shown\\u001b/, 'control characters are escaped')
  t.match(JSON.parse(text.split('\n')[0]!), { level: 'info', app: 'test', instance: 'i', msg: 'line' })
  t.end()
})

t.test('the ops port: alive, ready with reasons, metrics', async (t) => {
  const metrics = createMetrics('test', 'i')
  stageMetrics(metrics, 'append').done(3, 5)
  stageMetrics(metrics, 'deliver').failed('fenced')
  let down = false
  const ops = await startOps({
    host: '127.0.0.1',
    port: 0,
    metrics,
    ready: {
      redis: async () => {
        if (down) throw new Error('does not answer')
      },
    },
  })
  t.teardown(() => ops.stop())
  const get = (path: string) => fetch(`http://127.0.0.1:${ops.port}${path}`)
  t.equal((await get('/healthz')).status, 200)
  t.equal((await get('/readyz')).status, 200)
  down = true
  const unready = await get('/readyz')
  t.equal(unready.status, 503)
  t.match(await unready.json(), { checks: { redis: 'does not answer' } })
  t.match(
    await (await get('/metrics')).text(),
    /tidings_stage_total\{stage="append",outcome="ok",app="test",instance="i"\} 5/,
  )
  t.equal((await get('/nothing')).status, 404)
})

t.test('counters and histograms print what those of prom-client print', async (t) => {
  const [ours, theirs] = [new Registry(), new Registry()]
  const histogram = { name: 'seconds', help: 'How long.', labelNames: ['a', 'b'] }
  const count = { name: 'total', help: 'How many.', labelNames: ['a'] }
  const bounds = [0.1, 1, 2.5]
  const seconds = registered(ours, 'seconds', () => new Histograms({ ...histogram, bounds }))
  const total = registered(ours, 'total', () => new Counts(count))
  t.equal(
    registered(ours, 'total', () => new Counts(count)),
    total,
    'made once',
  )
  const theirSeconds = new Histogram({ ...histogram, buckets: bounds, registers: [theirs] })
  const theirTotal = new Counter({ ...count, registers: [theirs] })
  const seen = [0, 0.05, 0.1, 0.100001, 1, 2, 2.5, 3, 1e9]
  for (const [i, value] of seen.entries()) {
    const b = i % 2 === 0 ? 'even' : 'odd "and quoted"'
    for (const one of [seconds, theirSeconds]) one.labels('x', b).observe(value)
    for (const one of [total, theirTotal]) one.labels(b).inc(i + 0.5)
  }
  for (const one of [total, theirTotal]) one.labels('once').inc()
  for (const registry of [ours, theirs]) registry.setDefaultLabels({ app: 'test' })
  // The labels of a line may come in any order.
  const linesOf = (text: string): string[] =>
    text.split('\n').map((line) =>
      line.replace(/\{(.*)\}/, (_, inside: string) =>
        inside
          .split(/,(?=\w+=)/)
          .sort()
          .join(),
      ),
    )
  t.same(linesOf(await ours.metrics()), linesOf(await theirs.metrics()))
})

t.test('how late the event loop was is told since the scrape before, and each series once', async (t) => {
  const metrics = createMetrics('test', 'test')
  const read = async (): Promise<Map<string, number>> => {
    const lines = (await metrics.metrics()).matchAll(/^nodejs_eventloop_lag_(\w+)_seconds\{[^}]*\} (\S+)$/gm)
    return new Map([...lines].map(([, which, value]) => [which!, Number(value)]))
  }
  t.same([...(await read()).keys()].sort(), ['max', 'p50', 'p99'])
  let max = 0
  // The first look begins with the first turn.
  while (max < 0.2) {
    await new Promise((resolve) => setTimeout(resolve, 110))
    for (const end = performance.now() + 400; performance.now() < end; );
    await new Promise((resolve) => setTimeout(resolve, 110))
    max = (await read()).get('max')!
  }
  t.ok(max < 30, 'seconds')
  while (max >= 0.2) {
    await new Promise((resolve) => setTimeout(resolve, 250))
    max = (await read()).get('max')!
  }
})

t.test('without an endpoint tracing does nothing and passes the context on', async (t) => {
  t.equal(await startTracing({ url: undefined, app: 'test', instance: 'i' }), noTracing)
  const parent = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`
  t.equal(noTracing.start('accept', parent).traceparent, parent)
  t.equal(traceparentOf(parent), parent)
  for (const bad of [undefined, '', 'x', `${parent}\n`, `ff-${'a'.repeat(32)}-${'b'.repeat(16)}-01`])
    t.equal(traceparentOf(bad), '')
})

t.test('backoff grows, is bounded, and never zero', (t) => {
  for (let attempt = 0; attempt < 40; attempt++) {
    for (const chance of [0, 0.5, 0.999]) {
      const ms = backoffMs(attempt, { firstMs: 100, maxMs: 2_000 }, () => chance)
      t.ok(ms >= 10 && ms <= 2_000, `${attempt} ${chance} ${ms}`)
    }
  }
  t.end()
})

t.test('items by a key: groups and items in the order in which they came, the key asked once for each', (t) => {
  const asked: number[] = []
  const odd = groupBy([3, 1, 2, 5, 4], (n) => asked.push(n) > 0 && n % 2 === 1)
  t.same(
    [...odd],
    [
      [true, [3, 1, 5]],
      [false, [2, 4]],
    ],
  )
  t.same(asked, [3, 1, 2, 5, 4])
  t.equal(groupBy([], () => 1).size, 0)
  t.end()
})
