/** Entries that change others: what append.lua makes of them, and what readers of a log see. */
import {
  applyChange,
  beforeEdited,
  type Change,
  changeContent,
  type Fold,
  foldFacts,
  foldText,
} from '@tidings/protocol'
import t, { type Test } from 'tap'
import {
  type Appended,
  type AppendItem,
  type ChangeRule,
  createAppender,
  createJanitor,
  createLogReader,
  findInStreams,
  mergeFolds,
  trimLog,
} from '../src/index.js'
import { type Bench, bench } from './stores.js'

const DM = 'dm:alice:bob'
let made = 1_000

const itemOf = (over: Partial<AppendItem> = {}): AppendItem => ({
  id: String(++made),
  conversation: DM,
  from: 'alice',
  type: 'text',
  content: '{"text":"hello"}',
  clientId: '',
  sentAt: 1_763_700_000_000 + made,
  trace: '',
  ...over,
})

/** What of a change a test may choose. */
type Wanted =
  | { type: 'edit'; content: string }
  | { type: 'recall' }
  | { type: 'reaction'; emoji: string; action: 'add' | 'remove' }

function changeOf(target: Appended, wanted: Wanted, over: Partial<AppendItem> = {}, rule: Partial<ChangeRule> = {}) {
  const { id, seq, sentAt } = target
  const change: Change = { id, seq, ...wanted }
  const detail = change.type === 'edit' ? beforeEdited(change) : change.type === 'reaction' ? change.emoji : '-'
  return itemOf({
    type: wanted.type,
    content: changeContent(change),
    change: {
      what: wanted.type === 'reaction' ? wanted.action : wanted.type,
      target: { id, seq, sentAt },
      ...{ base: 0, until: 0, detail },
      ...rule,
    },
    ...over,
  })
}

const edit = (text: string): Wanted => ({ type: 'edit', content: `{"text":${JSON.stringify(text)}}` })
const recall: Wanted = { type: 'recall' }
const add = (emoji: string): Wanted => ({ type: 'reaction', emoji, action: 'add' })
const remove = (emoji: string): Wanted => ({ type: 'reaction', emoji, action: 'remove' })

async function talk(t: Test, given?: Bench) {
  const { redis, keys, metrics, generations } = given ?? (await bench(t))
  const appender = createAppender({ redis, keys, replicas: 0, generations, metrics })
  const reader = createLogReader(redis, keys)
  const change = (target: Appended, wanted: Wanted, over?: Partial<AppendItem>, rule?: Partial<ChangeRule>) =>
    appender.append(changeOf(target, wanted, over, rule))
  return { redis, keys, appender, reader, change, say: (over?: Partial<AppendItem>) => appender.append(itemOf(over)) }
}

t.test(
  'an edit, a recall and reactions are shown in place, and the entry itself stays as it was written',
  async (t) => {
    const { redis, keys, reader, change, say } = await talk(t)
    const [first, second, third] = [await say(), await say({ content: '{"n":9007199254740993}' }), await say()]
    const raw = '{ "n" :9007199254740993,\n\n"b":"\\n\\u00e9 漢" }'
    const edited = await change(first!, { type: 'edit', content: raw })
    t.match(edited, { seq: 4, duplicate: false })
    await change(second!, recall, { from: 'bob' })
    await change(third!, add('👍'))
    await change(third!, add('👍'), { from: 'bob' })
    await change(third!, add('❤️'), { from: 'bob' })
    const { sentAt: editedAt } = edited
    const all = await reader.after(DM, 0, 100)
    t.match(all.slice(0, 5), [
      { seq: 1, type: 'text', content: raw, extra: `"editedAt":${editedAt}`, n: 1 },
      { seq: 2, type: 'recalled', content: '', extra: /^"recalledAt":\d+,"recalledBy":"bob"$/ },
      {
        seq: 3,
        content: '{"text":"hello"}',
        extra: '"reactions":{"👍":{"count":2,"users":["alice","bob"]},"❤️":{"count":1,"users":["bob"]}}',
      },
      { seq: 4, type: 'edit', content: `{"target":"${first!.id}","seq":1,"content":${raw}}`, n: 3 },
      { seq: 5, type: 'recall', content: `{"target":"${second!.id}","seq":2}`, from: 'bob', n: 3 },
    ])
    t.same(await reader.before(DM, 100, 100), all, 'read downwards too')
    t.match(await reader.newest([DM, 'dm:x:y']), [{ seq: 8, type: 'reaction' }, undefined])
    const logged = await redis.xrange(keys.log(DM), '1-0', '1-0')
    t.ok(logged[0]![1].includes('{"text":"hello"}'), 'Redis’ own log holds the entry as it was, until it is trimmed')
    t.equal(await redis.hget(keys.read(DM), 'bob'), null, 'a change moves no read position')
    t.equal(await redis.get(keys.skip(DM)), '5', 'none of them counts as a message')
    t.match(await findInStreams(redis, keys, second!.id, Date.now()), { type: 'recalled', content: '' })
  },
)

t.test('what was taken back is in no edit either, whichever page it is on', async (t) => {
  const { reader, change, say } = await talk(t)
  const target = await say()
  await change(target, edit('secret one'))
  await change(target, edit('secret two'))
  t.notMatch((await reader.after(DM, 1, 1))[0]!.content, /secret/, 'the first edit counts no more')
  t.match((await reader.after(DM, 2, 1))[0]!.content, /secret two/)
  await change(target, recall)
  for (const page of [await reader.after(DM, 0, 9), await reader.after(DM, 1, 1), await reader.before(DM, 4, 2)])
    t.notMatch(JSON.stringify(page), /secret|hello/)
  t.same(
    (await reader.after(DM, 1, 2)).map(({ content }) => content),
    Array(2).fill(`{"target":"${target.id}","seq":1}`),
    'the fact stays',
  )
})

t.test('what is so already appends nothing and is told', async (t) => {
  const { redis, keys, change, say } = await talk(t)
  const target = await say()
  t.match(await change(target, remove('👍')), { id: target.id, seq: 1, sentAt: target.sentAt, duplicate: true })
  const first = await change(target, add('👍'), { clientId: 'c-1' })
  t.match(await change(target, add('👍')), { id: first.id, seq: 2, duplicate: true, streamId: first.streamId })
  t.match(await change(target, add('👍'), { clientId: 'c-2' }), { id: first.id, seq: 2, duplicate: true })
  t.match(await change(target, remove('👍')), { seq: 3, duplicate: false })
  t.match(await change(target, add('👍'), { clientId: 'c-1' }), { id: first.id, seq: 2, duplicate: true }, 'repeated')
  t.match(await change(target, add('👍'), { clientId: 'c-2' }), { id: first.id, seq: 2, duplicate: true }, 'repeated')
  await t.rejects(change(target, remove('👍'), { clientId: 'c-1' }), { code: 'idempotency_conflict' })
  const recalled = await change(target, recall)
  t.match(await change(target, recall, { from: 'bob' }), { id: recalled.id, seq: 4, duplicate: true })
  t.equal(await redis.xlen(keys.log(DM)), 4)
})

t.test('what is gone is changed no more, and two who race agree', async (t) => {
  const { redis, keys, reader, change, say } = await talk(t)
  for (const [first, second] of [
    [recall, edit('late')],
    [recall, add('👍')],
    [recall, remove('👍')],
  ] as const) {
    const target = await say()
    // Both in one call.
    const [won, lost] = await Promise.allSettled([change(target, first), change(target, second)])
    t.match([won, lost], [{ status: 'fulfilled' }, { status: 'rejected', reason: { code: 'message_recalled' } }])
  }
  const target = await say()
  await Promise.all([change(target, edit('early')), change(target, recall)])
  t.match(await reader.after(DM, target.seq - 1, 1), [{ type: 'recalled', content: '' }])
  t.equal(await redis.get(keys.seq(DM)), '9', 'what was refused took no seq')
})

t.test('too late, too many, and a fold that was forgotten', async (t) => {
  const { redis, keys, change, say } = await talk(t)
  const target = await say()
  await t.rejects(change(target, edit('x'), {}, { until: Date.now() - 1_000 }), { code: 'change_window_over' })
  const until = Date.now() + 60_000
  const done = await change(target, edit('x'), { clientId: 'c-1' }, { until })
  const again = change(target, edit('x'), { clientId: 'c-1' }, { until: Date.now() - 1 })
  t.match(await again, { id: done.id, duplicate: true }, 'what was accepted in time is known later')
  for (let i = 0; i < 20; i++) await change(target, add(`e${i}`))
  await t.rejects(change(target, add('one-more')), { code: 'too_many_reactions' })
  t.match(await change(target, add('e1'), { from: 'bob' }), { duplicate: false }, 'the same emoji by another')
  const crowd = await say()
  await Promise.all(Array.from({ length: 1_000 }, (_, i) => change(crowd, add('👍'), { from: `u${i}` })))
  await t.rejects(change(crowd, add('👍')), { code: 'too_many_reactions' })
  await redis.del(keys.fold(DM))
  const base = done.seq
  await t.rejects(change(target, edit('y'), {}, { base }), { code: 'unavailable' }, 'MySQL knows more')
  const fold: Fold = {
    last: { seq: base, id: done.id, sentAt: done.sentAt, streamId: '0-0' },
    gone: { as: 'recalled', seq: base, sentAt: done.sentAt, by: 'alice' },
    reactions: new Map(),
  }
  await mergeFolds(redis, keys, DM, [{ seq: target.seq, fold }])
  await t.rejects(change(target, edit('y'), {}, { base }), { code: 'message_recalled' })
})

t.test('the script and applyChange agree, whatever the order', async (t) => {
  const { redis, keys, appender } = await talk(t)
  // A generator of our own, so that a failure comes again.
  let state = 42
  const next = (below: number): number => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648
    return Math.floor((state / 2_147_483_648) * below)
  }
  const emojis = ['👍', '❤️', '40', '%d+', 'a-b']
  for (let round = 0; round < 30; round++) {
    const target = await appender.append(itemOf())
    let fold: Fold | undefined
    for (let i = 0; i < 40; i++) {
      const emoji = emojis[next(emojis.length)]!
      const wanted = next(100) === 0 ? recall : [edit(`v${i}`), add(emoji), add(emoji), remove(emoji)][next(4)]!
      const item = changeOf(target, wanted, { from: ['alice', 'bob', 'bo', 'ob'][next(4)]!, conversation: DM })
      const appended = await appender.append(item).catch((error: { code: string }) => error.code)
      if (typeof appended === 'string') t.equal(appended, 'message_recalled')
      else if (!appended.duplicate)
        fold = applyChange(fold, { ...item, seq: appended.seq }, { id: target.id, seq: target.seq, ...wanted })
    }
    const kept = (await redis.hget(keys.fold(DM), String(target.seq)))!
    t.equal(kept.replace(/^(last \d+ \d+ \d+) \S+/, '$1 0-0'), foldText(fold!), foldFacts(fold!))
  }
})

t.test('folds that MySQL gives back do not undo what Redis knows', async (t) => {
  const { redis, keys, reader, change, say } = await talk(t)
  const target = await say()
  const first = await change(target, edit('one'))
  await change(target, edit('two'))
  const old: Fold = {
    last: { seq: first.seq, id: first.id, sentAt: first.sentAt, streamId: '0-0' },
    edited: { seq: first.seq, sentAt: first.sentAt },
    reactions: new Map(),
    content: '{"text":"one"}',
  }
  await mergeFolds(redis, keys, DM, [{ seq: target.seq, fold: old }])
  t.match(await reader.after(DM, 0, 1), [{ content: '{"text":"two"}' }])
})

t.test('an idle log goes before its folds, and both stay when somebody writes', async (t) => {
  const given = await bench(t, 1)
  const { redis, keys, change, say } = await talk(t, given)
  const target = await say()
  await change(target, recall)
  await redis.set(keys.mark(0, 'persist'), '9999999999999-0')
  await redis.zadd(keys.recent(0), 1, DM)
  await createJanitor(redis, keys).forgetIdle(0)
  const [log, fold] = [await redis.ttl(keys.log(DM)), await redis.ttl(keys.fold(DM))]
  t.ok(log > 0 && fold > log, `${log} s and ${fold} s`)
  await say()
  t.same([await redis.ttl(keys.log(DM)), await redis.ttl(keys.fold(DM))], [-1, -1])
})

t.test(
  'an idle log that leaps because Redis came back as an older copy keeps its folds as long as itself',
  async (t) => {
    const given = await bench(t, 1)
    const { redis, keys, reader, change, say } = await talk(t, given)
    const target = await say()
    await change(target, recall)
    await redis.set(keys.mark(0, 'persist'), '9999999999999-0')
    await redis.zadd(keys.recent(0), 1, DM)
    await createJanitor(redis, keys).forgetIdle(0)
    // The next generation, and a look at the conversation without an append, as logic does it after a loss.
    await redis.set(keys.generation(0), `1 ${'a'.repeat(40)}`)
    await given.generations.open(0)
    await given.generations.leap(0, [DM])
    t.same([await redis.ttl(keys.log(DM)), await redis.ttl(keys.fold(DM))], [-1, -1])
    await say()
    t.match(await reader.after(DM, 0, 1), [{ seq: target.seq, type: 'recalled', content: '' }])
  },
)

t.test('folds are forgotten when neither the entry nor its changes are in the log', async (t) => {
  const { redis, keys, reader, change, say } = await talk(t)
  const [old, late] = [await say(), await say()]
  await change(old, edit('old'))
  await Promise.all(Array.from({ length: 2_600 }, () => say()))
  await change(late, edit('late'))
  const head = Number(await redis.get(keys.seq(DM)))
  await trimLog(redis, keys, DM, head)
  t.same(await redis.hkeys(keys.fold(DM)), ['2'], 'the second one was changed lately')
  t.match((await reader.before(DM, head + 1, 1))[0]!.content, /late/)
})
