import { countsAsMessage } from '@tidings/protocol'
import t from 'tap'
import { digestOf } from '../src/append-answers.js'
import { createAppendCall } from '../src/append-call.js'
import type { AppendItem, Line, Waiting } from '../src/append-lines.js'
import { createKeys } from '../src/keys.js'
import { createPlaces } from '../src/places.js'
import { toCommand, type Word, type Written, write } from '../src/resp.js'
import { item } from './parts.js'

const keys = createKeys('t', 16)
const placeOf = createPlaces(keys)
const callOf = createAppendCall(keys)
const waits = (one: AppendItem): Waiting => ({
  item: one,
  place: placeOf(one.conversation),
  detours: 0,
  resolve() {},
  reject() {},
})
const text = (...parts: Written[]): string => toCommand(...parts).toString()

/** A batch, one line per partition in the order in which they come. */
function batchOf(items: readonly AppendItem[]): Map<Line, Waiting[]> {
  const lines = new Map<number, Line>()
  const batch = new Map<Line, Waiting[]>()
  for (const one of items) {
    const partition = keys.partitionOf(one.conversation)
    const line = lines.get(partition) ?? { partition, queue: [], busy: false, held: 0, generation: partition + 1 }
    lines.set(partition, line)
    batch.set(line, [...(batch.get(line) ?? []), waits(one)])
  }
  return batch
}

t.test('the words of a call are those that append.lua names, in their order', async (t) => {
  const plain = [
    item(),
    item({ conversation: 'dm:carol:dave', from: 'carol', clientId: 'c-1' }),
    item({ type: 'edit' }),
    item({ conversation: 'room:abcdefgh12345678', members: 'check' }),
  ]
  const trace = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`
  const texts = ['{"text":"é汉👩‍👩‍👧"}', '{"text":"\\r\\n$3\\r\\n"}', '{}'].map((content, i) =>
    item({ content, clientId: i === 1 ? '' : `c-${i}`, trace: i === 0 ? trace : '' }),
  )
  for (const items of [plain, texts, [...texts, ...plain]]) {
    const batch = batchOf(items)
    const names: string[] = []
    const args: Word[] = [batch.size]
    for (const [line, waiting] of batch) args.push(waiting.length, line.generation)
    for (const [{ partition }, waiting] of batch) {
      names.push(keys.messages(partition), keys.recent(partition), keys.generation(partition), keys.leapt(partition))
      for (const { item: one } of waiting) {
        const { conversation, from, clientId } = one
        names.push(keys.seq(conversation), keys.skip(conversation), keys.log(conversation), keys.read(conversation))
        names.push(clientId === '' ? keys.seq(conversation) : keys.once(conversation, from, clientId))
        args.push(one.id, conversation, from, one.type, countsAsMessage(one.type) ? 1 : 0, one.content, clientId)
        names.push(one.members === undefined ? keys.seq(conversation) : keys.members(conversation))
        args.push(one.sentAt, one.trace, clientId === '' ? '' : digestOf(one), one.members === 'check' ? 'check' : '')
      }
    }
    const call = callOf(batch)
    t.equal(text(call.keys), text(write(names)))
    t.equal(text(call.args), text(write(args)))
  }
})

t.test('a place stays the same however many others are asked for', async (t) => {
  const first = placeOf('dm:alice:bob')
  const seen = { ...first }
  for (let i = 0; i < 25_000; i++) placeOf(`dm:alice:user${i}`)
  t.same(placeOf('dm:alice:bob'), seen)
  t.equal(seen.partition, keys.partitionOf('dm:alice:bob'))
})
