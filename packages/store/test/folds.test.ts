/** What changes make of stored rows, in whatever order and however often they come. */
import { type Change, changeContent, type Entry } from '@tidings/protocol'
import t from 'tap'
import {
  findEntry,
  findFold,
  foldsChangedAbove,
  insertEntries,
  insertTombstone,
  newestMessage,
  newestSends,
  readEntries,
} from '../src/index.js'
import { entryOf, freshDatabase } from './world.js'

const { store } = await freshDatabase(t)
const insert = (...entries: Entry[]) =>
  insertEntries(
    store,
    entries.map((entry) => ({ partition: 1, fence: 1, entry })),
    'persist',
  )

type Wanted =
  | { type: 'edit'; content: string }
  | { type: 'recall' }
  | { type: 'reaction'; emoji: string; action: 'add' | 'remove' }

function changeOf(target: Entry, seq: number, wanted: Wanted, over: Partial<Entry> = {}): Entry {
  const change: Change = { id: target.id, seq: target.seq, ...wanted }
  return entryOf(target.conversation, seq, { type: wanted.type, content: changeContent(change), ...over })
}

const edit = (text: string): Wanted => ({ type: 'edit', content: `{"text":"${text}"}` })
const recall: Wanted = { type: 'recall' }
const react = (emoji: string, action: 'add' | 'remove' = 'add'): Wanted => ({ type: 'reaction', emoji, action })

const rows = async (conversation: string) =>
  (await readEntries(store, conversation, { after: 0, limit: 100 })).map(({ entry }) => entry)

/** Every byte that MySQL holds of a conversation. */
async function bytes(conversation: string): Promise<string> {
  const found = await store.use((db) => db.select('SELECT * FROM entries WHERE conversation = ?', [conversation]))
  return JSON.stringify(found)
}

t.test('what was recalled is gone from the rows: of the message and of its edits', async (t) => {
  for (const [name, batches] of Object.entries({
    'one by one': (e: Entry[]) => e.map((one) => [one]),
    'in one batch': (e: Entry[]) => [e],
    'the changes together': (e: Entry[]) => [e.slice(0, 1), e.slice(1)],
    'again and again': (e: Entry[]) => [e, e, e.slice(1), e.slice(2, 3)],
  })) {
    const c = `dm:alice:${name.replaceAll(' ', '-')}`
    const target = entryOf(c, 1, { content: '{"text":"secret"}' })
    const all = [
      target,
      changeOf(target, 2, edit('secret two')),
      changeOf(target, 3, react('👍'), { from: 'bob' }),
      changeOf(target, 4, edit('secret three')),
      changeOf(target, 5, recall),
    ]
    for (const batch of batches(all)) t.same(await insert(...batch), { fenced: new Map(), conflicts: [] }, name)
    t.notMatch(await bytes(c), /secret/, name)
    t.match(
      await rows(c),
      [
        { seq: 1, type: 'recalled', content: '', extra: `"recalledAt":${all[4]!.sentAt},"recalledBy":"alice"` },
        { seq: 2, type: 'edit', content: `{"target":"${target.id}","seq":1}` },
        { seq: 3, type: 'reaction' },
        { seq: 4, type: 'edit', content: `{"target":"${target.id}","seq":1}` },
        { seq: 5, type: 'recall' },
      ],
      name,
    )
    t.match(await findEntry(store, target.id), { type: 'recalled', content: '' })
  }
})

t.test('an edited message has the newest content, and reactions are counted once', async (t) => {
  const c = 'dm:alice:edited'
  const target = entryOf(c, 1)
  const raw = '{ "n" :9007199254740993, "q":"\'\\"\\\\" }'
  const changes = [
    changeOf(target, 2, edit('two')),
    changeOf(target, 3, react('👍'), { from: 'bob' }),
    changeOf(target, 4, { type: 'edit', content: raw }),
    changeOf(target, 5, react('👍'), { from: 'carol' }),
    changeOf(target, 6, react('👍', 'remove'), { from: 'bob' }),
  ]
  await insert(target, ...changes)
  // A repetition that does not begin where the batch began.
  await insert(...changes.slice(1, 2))
  await insert(...changes.slice(0, 1), ...changes.slice(3))
  const extra = `"editedAt":${changes[2]!.sentAt},"reactions":{"👍":{"count":1,"users":["carol"]}}`
  t.match(await rows(c), [
    { content: raw, type: 'text', extra },
    { content: `{"target":"${target.id}","seq":1}` },
    {},
    {},
  ])
  t.match(await findFold(store, c, 1), { content: raw, last: { seq: 6, id: changes[4]!.id } })
  t.equal((await rows(c))[3]!.content, changes[2]!.content, 'the edit that counts')
  t.match(await newestMessage(store, c, { below: 7, above: 0 }), { seq: 1, content: raw })
  t.equal(await newestMessage(store, c, { below: 7, above: 1 }), undefined, 'not below the floor')
  const sends = await newestSends(store, c, { above: 0, since: 0, limit: 10 })
  t.same(
    sends.map(({ seq, changed }) => [seq, changed]),
    [
      [6, false],
      [5, false],
      [4, false],
      [3, false],
      [2, true],
      [1, true],
    ],
    'whose content is not what was sent',
  )
  t.match(await foldsChangedAbove(store, c, 5), [{ seq: 1, fold: { edited: { seq: 4 }, content: raw } }])
  t.same(await foldsChangedAbove(store, c, 6), [])
})

t.test('a target that comes after its changes, as a dead letter that was put back, comes as it is now', async (t) => {
  for (const [name, wanted, content] of [
    ['recalled', recall, ''],
    ['edited', edit('new'), '{"text":"new"}'],
    ['reacted', react('👍'), '{"text":"secret"}'],
  ] as const) {
    const c = `dm:alice:late-${name}`
    const target = entryOf(c, 1, { content: '{"text":"secret"}' })
    await insertTombstone(store, { conversation: c, seq: 1, reason: 'rejected' })
    await insert(changeOf(target, 2, wanted))
    await insert(target)
    if (name !== 'reacted') t.notMatch(await bytes(c), /secret/, name)
    t.match((await rows(c))[0], { id: target.id, content, extra: String }, name)
  }
})

t.test('a change written by hand changes nothing that it may not', async (t) => {
  const c = 'dm:alice:forged'
  const [target, other] = [entryOf(c, 1), entryOf(c, 2, { type: 'system' })]
  const forged = [
    changeOf(other, 3, recall),
    changeOf({ ...target, id: '99' }, 4, recall),
    entryOf(c, 5, { type: 'recall', content: '{"target":1}' }),
    entryOf(c, 6, { type: 'reaction', content: `{"target":"${target.id}","seq":1,"emoji":"a b","action":"add"}` }),
    changeOf({ ...target, seq: 9 }, 7, recall),
  ]
  t.same((await insert(target, other, ...forged)).conflicts, [])
  t.match(await rows(c), [
    { content: target.content, extra: undefined },
    { content: other.content, extra: undefined },
  ])
})

t.end()
