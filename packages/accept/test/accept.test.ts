import { AppError } from '@tidings/protocol'
import { createMetrics, noTracing, stageMetrics } from '@tidings/service'
import type { AppendItem } from '@tidings/stream'
import t from 'tap'
import { createAcceptor, createPermits, createSeenUsers, type Draft, type Identity } from '../src/index.js'
import { unscreened } from './unscreened.js'

const draft = (over: Partial<Draft> = {}): Draft => ({
  from: 'alice',
  conversation: 'dm:alice:bob',
  type: 'text',
  content: '{}',
  clientId: '',
  trace: '',
  ...over,
})

t.test('permits are asked once, kept, and believed for a while when nobody answers', async (t) => {
  let asked = 0
  let away = false
  let ttlMs = 60_000
  const permits = createPermits(async () => {
    asked++
    if (away) throw new AppError('unavailable')
    return { ttlMs }
  })
  await Promise.all([permits.check('alice', 'c'), permits.check('alice', 'c')])
  t.equal(asked, 1)
  t.notOk(permits.check('alice', 'c') instanceof Promise)
  away = true
  ttlMs = 0
  await t.rejects(Promise.resolve(permits.check('bob', 'c')), { code: 'unavailable' })
  away = false
  await permits.check('carol', 'c')
  away = true
  t.ok(await permits.check('carol', 'c'), 'a stale yes is better than no answer')
})

t.test('permits of users who may not act any more are forgotten, also those that are on their way', async (t) => {
  const asked: string[] = []
  let answer: (() => void) | undefined
  const permits = createPermits(async (user, conversation) => {
    asked.push(`${user} ${conversation}`)
    if (conversation === 'dm:bob:eve') await new Promise<void>((resolve) => (answer = resolve))
    return { ttlMs: 60_000 }
  })
  const kept = [
    ['alice', 'dm:alice:bob'],
    ['bob', 'dm:alice:bob'],
    ['bob', 'room:abcdefghij012345'],
    ['carol', 'dm:carol:dan'],
    ['bobby', 'dm:bobby:dan'],
  ] as const
  for (const [user, conversation] of kept) await permits.check(user, conversation)
  const onItsWay = permits.check('eve', 'dm:bob:eve')
  permits.forgetUsers(new Set(['bob']))
  t.same(
    kept.filter(([user, conversation]) => permits.check(user, conversation) instanceof Promise),
    kept.slice(0, 3),
    'of bob and to bob, of nobody else',
  )
  answer!()
  await new Promise(setImmediate)
  t.equal(asked.filter((one) => one === 'eve dm:bob:eve').length, 2, 'the old answer does not count')
  answer!()
  await onItsWay
  t.notOk(permits.check('eve', 'dm:bob:eve') instanceof Promise)
})

t.test('users who may not act any more are asked for again, and nobody gets an answer of before', async (t) => {
  const answers: (() => void)[] = []
  let disabled = false
  const seen = createSeenUsers(async () => {
    const refuse = disabled
    await new Promise<void>((resolve) => answers.push(resolve))
    if (refuse) throw new AppError('user_disabled')
  })
  const alice: Identity = { user: 'alice', sessionId: undefined, expiresAt: 0, scopes: undefined }
  const first = seen.check(alice)
  disabled = true
  seen.forget(new Set(['alice', 'bob']))
  answers.shift()!()
  await new Promise(setImmediate)
  answers.shift()!()
  await t.rejects(Promise.resolve(first), { code: 'user_disabled' })
  disabled = false
  const again = seen.check(alice)
  answers.shift()!()
  await again
  t.equal(seen.check(alice), undefined, 'known')
  seen.forget(new Set(['alice']))
  t.ok(seen.check(alice) instanceof Promise, 'and asked for again')
  answers.shift()!()
})

t.test(
  'sends of one sender to one conversation keep their order though the first must ask for its permit',
  async (t) => {
    const order: string[] = []
    let permit: (() => void) | undefined
    const acceptor = createAcceptor({
      admit: () => undefined,
      permits: {
        forget: () => undefined,
        check: () =>
          new Promise((resolve) => {
            if (permit) resolve({ freshUntil: 0 })
            else permit = () => resolve({ freshUntil: 0 })
          }),
      },
      attach: async () => undefined,
      indexConversation: () => undefined,
      ...unscreened,
      nextId: () => '1',
      appender: {
        waiting: 0,
        idle: async () => undefined,
        serverOf: () => 0,
        async append(item) {
          order.push(item.clientId)
          return {
            id: item.id,
            seq: order.length,
            sentAt: 0,
            streamId: '0-0',
            partition: 0,
            generation: 1,
            duplicate: false,
          }
        },
      },
      metrics: stageMetrics(createMetrics('test', 'test'), 'accept'),
      tracing: noTracing,
    })
    const all = ['a', 'b', 'c'].map((clientId) => acceptor.accept(draft({ clientId })))
    permit!()
    t.same(
      (await Promise.all(all)).map(({ seq }) => seq),
      [1, 2, 3],
    )
    t.same(order, ['a', 'b', 'c'])
  },
)

t.test(
  'a send that need not wait is with the appender at once, and overtakes none whose permit has just come',
  async (t) => {
    /** The second send comes so many turns of promises after the permit of the first. */
    async function orderWith(turns: number): Promise<string[]> {
      const order: string[] = []
      let permit: (() => void) | undefined
      const asked = new Promise<void>((resolve) => {
        permit = resolve
      })
      const known = { freshUntil: 0 }
      let isKnown = false
      const acceptor = createAcceptor({
        admit: () => undefined,
        permits: {
          forget: () => undefined,
          check: () => (isKnown ? known : asked.then(() => known)),
        },
        attach: async () => undefined,
        indexConversation: () => undefined,
        ...unscreened,
        nextId: () => '1',
        appender: {
          waiting: 0,
          idle: async () => undefined,
          serverOf: () => 0,
          async append({ id, clientId }) {
            order.push(clientId)
            return { id, seq: 1, sentAt: 0, streamId: '0-0', partition: 0, generation: 1, duplicate: false }
          },
        },
        metrics: stageMetrics(createMetrics('test', 'test'), 'accept'),
        tracing: noTracing,
      })
      const all = [acceptor.accept(draft({ clientId: 'first' }))]
      isKnown = true
      all.push(acceptor.accept(draft({ clientId: 'elsewhere', conversation: 'dm:alice:carol' })))
      t.same(order, ['elsewhere'], 'before its promise is looked at')
      permit!()
      for (let turn = 0; turn < turns; turn++) await undefined
      all.push(acceptor.accept(draft({ clientId: 'second' })))
      await Promise.all(all)
      return order
    }
    for (let turns = 0; turns < 20; turns++) {
      t.same(await orderWith(turns), ['elsewhere', 'first', 'second'], `${turns} turns after the permit`)
    }
  },
)

t.test('sends that wait for a permit are bounded, and one that is not admitted asks for none', async (t) => {
  let admitted = true
  let asked = 0
  let answer: (() => void) | undefined
  const answered = new Promise<void>((resolve) => {
    answer = resolve
  })
  const acceptor = createAcceptor({
    admit(bulk) {
      if (!admitted || bulk) throw new AppError('overloaded', 'too much', { retryAfter: 3 })
    },
    permits: {
      forget: () => undefined,
      async check() {
        asked++
        await answered
        return { freshUntil: 0 }
      },
    },
    attach: async () => undefined,
    indexConversation: () => undefined,
    ...unscreened,
    nextId: () => '1',
    appender: {
      waiting: 0,
      idle: async () => undefined,
      serverOf: () => 0,
      append: async ({ id }) => ({
        id,
        seq: 1,
        sentAt: 0,
        streamId: '0-0',
        partition: 0,
        generation: 1,
        duplicate: false,
      }),
    },
    metrics: stageMetrics(createMetrics('test', 'test'), 'accept'),
    tracing: noTracing,
  })
  await t.rejects(acceptor.accept(draft({ bulk: true })), { code: 'overloaded', retryAfter: 3 })
  admitted = false
  await t.rejects(acceptor.accept(draft()), { code: 'overloaded', retryAfter: 3 })
  t.equal(asked, 0)
  admitted = true
  const all = Array.from({ length: 4_096 }, (_, i) => acceptor.accept(draft({ conversation: `dm:a:b${i}` })))
  await t.rejects(acceptor.accept(draft()), { code: 'overloaded', message: /permit/ })
  t.equal(asked, 4_096)
  answer!()
  await Promise.all(all)
  await acceptor.accept(draft())
})

t.test(
  'while an append has no answer for half a second, others are refused at once; answered, they are taken',
  async (t) => {
    let answer: (() => void) | undefined
    const answered = new Promise<void>((resolve) => {
      answer = resolve
    })
    let calls = 0
    const acceptor = createAcceptor({
      admit: () => undefined,
      permits: { check: () => ({ freshUntil: 0 }), forget: () => undefined },
      attach: async () => undefined,
      indexConversation: () => undefined,
      ...unscreened,
      nextId: () => '1',
      appender: {
        waiting: 0,
        idle: async () => undefined,
        serverOf: () => 0,
        async append({ id }) {
          if (calls++ === 0) await answered
          return { id, seq: 1, sentAt: 0, streamId: '0-0', partition: 0, generation: 1, duplicate: false }
        },
      },
      metrics: stageMetrics(createMetrics('test', 'test'), 'accept'),
      tracing: noTracing,
    })
    const slow = acceptor.accept(draft())
    await acceptor.accept(draft())
    const codes: unknown[] = []
    while (codes.at(-1) !== 'overloaded') {
      await new Promise((resolve) => setTimeout(resolve, 20))
      codes.push(
        await acceptor.accept(draft()).then(
          () => 'accepted',
          (error: AppError) => error.code,
        ),
      )
    }
    t.ok(codes.length > 1 && codes.slice(0, -1).every((code) => code === 'accepted'), 'not before')
    answer!()
    await slow
    const sent = () => acceptor.accept(draft()).then(Boolean, () => false)
    while (!(await sent())) await new Promise((resolve) => setTimeout(resolve, 20))
  },
)

t.test('a server that is slow refuses nothing of what lies on another one', async (t) => {
  let answer: (() => void) | undefined
  const answered = new Promise<void>((resolve) => {
    answer = resolve
  })
  const [away, well] = ['dm:alice:bob', 'dm:alice:carol']
  const acceptor = createAcceptor({
    admit: () => undefined,
    permits: { check: () => ({ freshUntil: 0 }), forget: () => undefined },
    attach: async () => undefined,
    indexConversation: () => undefined,
    ...unscreened,
    nextId: () => '1',
    appender: {
      waiting: 0,
      idle: async () => undefined,
      serverOf: (conversation) => (conversation === away ? 3 : 4),
      async append({ id, conversation }) {
        if (conversation === away) await answered
        return { id, seq: 1, sentAt: 0, streamId: '0-0', partition: 0, generation: 1, duplicate: false }
      },
    },
    metrics: stageMetrics(createMetrics('test', 'test'), 'accept'),
    tracing: noTracing,
  })
  const waiting = [acceptor.accept(draft({ conversation: away }))]
  for (let refused = false; !refused; ) {
    await new Promise((resolve) => setTimeout(resolve, 20))
    const one = acceptor.accept(draft({ conversation: away }))
    waiting.push(one)
    refused = await Promise.race([
      one.then(
        () => false,
        ({ code }: AppError) => code === 'overloaded',
      ),
      new Promise<false>((resolve) => setImmediate(resolve, false)),
    ])
  }
  t.equal((await acceptor.accept(draft({ conversation: well }))).seq, 1)
  answer!()
  t.equal((await Promise.allSettled(waiting)).filter(({ status }) => status === 'rejected').length, 1)
})

t.test('a long turn of our own does not look like a slow store', async (t) => {
  const acceptor = createAcceptor({
    admit: () => undefined,
    permits: { check: () => ({ freshUntil: 0 }), forget: () => undefined },
    attach: async () => undefined,
    indexConversation: () => undefined,
    ...unscreened,
    nextId: () => '1',
    appender: {
      waiting: 0,
      idle: async () => undefined,
      serverOf: () => 0,
      // The answer is there as soon as this process looks for it.
      append: ({ id }) =>
        new Promise((resolve) => {
          const appended = { id, seq: 1, sentAt: 0, streamId: '0-0', generation: 1, partition: 0, duplicate: false }
          setImmediate(() => resolve(appended))
        }),
    },
    metrics: stageMetrics(createMetrics('test', 'test'), 'accept'),
    tracing: noTracing,
  })
  const first = acceptor.accept(draft())
  await Promise.resolve()
  const busyUntil = performance.now() + 700
  while (performance.now() < busyUntil);
  const answers = [...(await Promise.all([first, acceptor.accept(draft())])), await acceptor.accept(draft())]
  t.same(
    answers.map(({ seq }) => seq),
    [1, 1, 1],
    'none was refused',
  )
})

t.test(
  'what is refused for what it says leaves nothing behind; what is masked is appended so, and told about',
  async (t) => {
    const items: AppendItem[] = []
    const indexed: string[] = []
    const forgotten: string[] = []
    const flagged: unknown[] = []
    const attached: string[] = []
    const [first, second] = ['a'.repeat(22), 'b'.repeat(22)] as const
    const image = (file: string) => `{"url":"/api/v1/files/${file}","size":1,"mediaType":"image/png","name":"a.png"}`
    const refusal = new AppError('word_rejected')
    const acceptor = createAcceptor({
      admit: () => undefined,
      permits: { check: () => ({ freshUntil: 0 }), forget: (user) => void forgotten.push(user) },
      indexConversation: (conversation) => void indexed.push(conversation),
      attach: async ({ files }) => void attached.push(...files.map(({ id }) => id)),
      screen: {
        active: true,
        find: () => undefined,
        check({ content }) {
          if (content.includes('fine')) return undefined
          if (content.includes(first)) return { content: image(second), refusal: undefined, flagged: [] }
          if (content.includes('vile')) return { content, refusal, flagged: [] }
          return { content: '{"text":"***"}', refusal: undefined, flagged: ['odd'] }
        },
      },
      flagged: { add: (one) => void flagged.push(one) },
      nextId: () => '1',
      appender: {
        waiting: 0,
        idle: async () => undefined,
        serverOf: () => 0,
        async append(item) {
          items.push(item)
          if (item.refusal) throw item.refusal
          const duplicate = item.clientId === 'again'
          return { id: item.id, seq: 1, sentAt: 7, streamId: '0-0', partition: 0, generation: 1, duplicate }
        },
      },
      metrics: stageMetrics(createMetrics('test', 'test'), 'accept'),
      tracing: noTracing,
    })
    const vile = draft({ content: '{"text":"vile"}' })
    await t.rejects(acceptor.accept(vile), refusal)
    t.same(items, [], 'without a clientId nobody can have sent it before')
    await t.rejects(acceptor.accept({ ...vile, clientId: 'c-1' }), refusal)
    t.match(
      items.pop(),
      { clientId: 'c-1', refusal, sent: '{"text":"vile"}' },
      'with one, the append looks whether it was',
    )
    t.same([indexed, forgotten], [[], []], 'and the permit is as good as it was')

    await acceptor.accept(draft({ content: '{"text":"fine"}' }))
    t.match(items.pop(), { content: '{"text":"fine"}', sent: undefined })
    const odd = draft({ content: '{"text":"odd"}' })
    await acceptor.accept(odd)
    t.match(items.pop(), { content: '{"text":"***"}', sent: '{"text":"odd"}' })
    await acceptor.accept({ ...odd, clientId: 'again' })
    const { from, conversation, type } = odd
    await acceptor.accept(draft({ type: 'image', content: image(first) }))
    t.match(items.pop(), { content: image(second), sent: image(first) })
    t.same(attached, [second], 'what is shown is what was put in place')
    t.same(flagged, [{ id: '1', conversation, seq: 1, from, type, sentAt: 7, words: ['odd'] }], 'once')
  },
)
