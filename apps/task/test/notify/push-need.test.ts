/** What becomes of a push between its noting and its sending. */
import { applyChange, type Change, changeContent, foldText, optionsText } from '@tidings/protocol'
import { type ClaimedPush, insertRoom } from '@tidings/store'
import type { Delivery } from '@tidings/stream'
import t from 'tap'
import { createDuePushes } from '../../src/notify/due-pushes.js'
import { createPushNeed } from '../../src/notify/push-need.js'
import { world } from '../world.js'

const { redis, keys, store, persister, append } = await world(t)
const need = createPushNeed({ store, redis, keys })

/** Of the newest of these entries, as bob's phone is due it. */
function pushOf(...entries: Delivery[]): ClaimedPush {
  const { id, conversation, seq, from, sentAt } = entries.at(-1)!.entry
  return {
    ...{ user: 'bob', device: 'phone', conversation, seq, id, from, preview: `number ${seq}` },
    ...{ expiresAt: null, urgent: false, tries: 0, muted: false, fromName: undefined, roomName: undefined },
    createdAt: new Date(entries[0]?.entry.sentAt ?? sentAt),
    subscription: { id: 1, endpoint: 'https://push.example.com/', p256dh: '', auth: '' },
  }
}

type Kind = { type: 'recall' } | { type: 'edit'; content: string }

/** The entry of a change, and what append.lua leaves in Redis with it. */
async function change({ entry }: Delivery, seq: number, kind: Kind): Promise<Delivery> {
  const said = { ...kind, id: entry.id, seq: entry.seq } as Change
  const made = await append(entry.conversation, seq, { type: kind.type, content: changeContent(said) })
  const fold = applyChange(undefined, made.entry, said)
  await redis.hset(keys.fold(entry.conversation), entry.seq, foldText(fold))
  return made
}

const previews = async (...pushes: ClaimedPush[]) => (await need.of(pushes)).map((push) => push?.preview)

t.test('what was recalled is not pushed, whether MySQL knows of it or not', async (t) => {
  const c = 'dm:alice:bob'
  const [kept, first, second] = [await append(c, 1), await append(c, 2), await append(c, 3)]
  t.same(await previews(pushOf(kept), pushOf(first)), ['number 1', 'number 2'])
  await change(first, 4, { type: 'recall' })
  t.same(await previews(pushOf(first), pushOf(second)), [undefined, 'number 3'], 'Redis knows')

  const stored = 'dm:bob:carol'
  const one = await append(stored, 1)
  await persister.handle([one, await change(one, 2, { type: 'recall' })])
  await redis.del(keys.fold(stored))
  t.same(await previews(pushOf(one)), [undefined], 'MySQL knows')
})

t.test('what was edited is pushed with its new text', async (t) => {
  const c = 'dm:bob:dora'
  const one = await append(c, 1)
  const edit = await change(one, 2, { type: 'edit', content: '{"text":"better"}' })
  t.same(await previews(pushOf(one)), ['better'])
  t.same(await previews({ ...pushOf(one), preview: '' }), [''], 'unless nothing of it may be shown')
  await persister.handle([one, edit])
  await redis.del(keys.fold(c))
  t.same(await previews(pushOf(one)), ['better'])
})

t.test('where the newest was recalled, the earlier ones are worth a push without a text', async (t) => {
  const c = 'dm:bob:erin'
  const at = Date.now() - 1_000
  const [old, one, two] = [
    await append(c, 1, { sentAt: at - 1 }),
    await append(c, 2, { sentAt: at }),
    await append(c, 3, { sentAt: at + 1 }),
  ]
  await persister.handle([old, one, two])
  await change(two, 4, { type: 'recall' })
  t.same(await previews(pushOf(two)), [undefined], 'what came before was pushed before')
  t.same(await previews(pushOf(one, two)), [''])
  await redis.hset(keys.cursor('bob', 'phone'), c, 2)
  t.same(await previews(pushOf(one, two)), [undefined], 'not when the device has them')
  await redis.hset(keys.cursor('bob', 'phone'), c, 1)
  await change(one, 5, { type: 'recall' })
  t.same(await previews(pushOf(one, two)), [undefined], 'nor when they were recalled as well')
})

t.test('what has expired is not shown, and takes no earlier message with it', async (t) => {
  const c = 'dm:bob:frank'
  const now = Date.now()
  const one = await append(c, 1, { sentAt: now - 3_000 })
  const short = await append(c, 2, { sentAt: now - 2_000, options: optionsText({ expiresAt: now - 1 })! })
  t.same(await previews(pushOf(short)), [undefined])
  await persister.handle([one, short])
  t.same(await previews(pushOf(one, short)), [''])
  const long = await append(c, 3, { sentAt: now - 1_000, options: optionsText({ expiresAt: now + 60_000 })! })
  const [push] = await need.of([pushOf(one, long)])
  t.match(push, { preview: 'number 3', expiresAt: now + 60_000 }, 'a push service forgets it in time')
})

t.test('who is in a room is asked of MySQL where Redis has lost it', async (t) => {
  const [open, closed, left] = ['a234567890123456', 'b234567890123456', 'c234567890123456'] as const
  for (const id of [open, closed, left]) {
    const about = { name: 'R', kind: 'permanent', visibility: 'private', createdBy: 'alice', endsAt: null }
    const add = id === left ? [] : [{ user: 'bob', role: 'member' as const, mutedUntil: 0 }]
    const entry = { clientId: 'room.1', type: 'system', content: '{}', change: '{}' }
    await insertRoom(
      store,
      { ...about, id, history: id === closed ? 'joined' : 'all' },
      { by: 'alice', now: new Date(), add, entry },
      async () => undefined,
    )
  }
  await store.use((db) => db.run('UPDATE conversation_members SET joined_seq = 2'))
  const due = createDuePushes({
    ...{ store, redis, keys, withText: true },
    subscribers: { size: 1, devicesOf: () => [{ device: 'phone', since: 0 }] },
  })
  const of = async (room: string, seq: number): Promise<[noted: string[], needed: (string | undefined)[]]> => {
    const entry = await append(`room:${room}`, seq)
    return [(await due.of(entry)).devices.map(({ user }) => user), await previews(pushOf(entry))]
  }
  t.same(await of(open, 1), [['bob'], ['number 1']], 'he may read what was before him')
  t.same(await of(closed, 1), [['bob'], [undefined]], 'here he may not')
  t.same(await of(closed, 2), [['bob'], ['number 2']])
  t.same(await of(left, 1), [[], [undefined]])
})

t.end()
