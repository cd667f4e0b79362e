/** A device that was away while much was written to it: how long until it has caught up, and whether it has all of it in order. */
import { mintToken } from '../tokens.js'
import { contentOf } from './checker.js'
import type { ColdFigures } from './figures.js'
import { fill } from './fill.js'
import { MemoryWatch } from './memory.js'
import type { Order } from './order.js'
import { Receiver, type ReceiverEvents } from './receiver.js'
import { StreamWatch } from './stored.js'

/** Conversations that the entries are spread over: most of each lies below the newest thousand, in MySQL alone. */
const SENDERS = 20
const CATCH_UP_MS = 10 * 60_000
const STORE_MS = 10 * 60_000
const ACK_EVERY_MS = 200

export async function coldCatchUp(order: Order): Promise<{ cold: ColdFigures; faults: string[] }> {
  const receiver = 'cold-catchup-r'
  const token = mintToken(order.jwtSecret, receiver, 3_600)
  const faults: string[] = []
  const lastSeq = new Map<string, number>()
  let shown = 0
  let firstAt = 0
  const events: ReceiverEvents = {
    message({ conversation, seq, content }, frame) {
      if (shown++ === 0) firstAt = performance.now()
      const last = lastSeq.get(conversation) ?? 0
      const right = seq === last + 1 && content.i === last && frame.includes(`"content":${contentOf(last)}`)
      if (!right && faults.length < 10)
        faults.push(`${conversation} shows seq ${seq} after ${last}: ${frame.slice(0, 200)}`)
      lastSeq.set(conversation, seq)
    },
    unexpected: (what) => void faults.push(what),
  }
  // The device is seen before anything is written, so that all of it is for it.
  const before = await Receiver.open(order.websocket, token, events)
  before.close()
  const { counts } = await fill(order, receiver, SENDERS, order.scale.coldEntries)
  const entries = [...counts.values()].reduce((sum, n) => sum + n, 0)
  const watch = new StreamWatch(order.redisUrl, order.partitions)
  try {
    await watch.settled(STORE_MS)
  } finally {
    watch.close()
  }
  const memory = new MemoryWatch(order.processes)
  const began = performance.now()
  const device = await Receiver.open(order.websocket, token, events, { openMs: CATCH_UP_MS, ackEveryMs: ACK_EVERY_MS })
  const syncedMs = performance.now() - began
  device.close()
  for (const [conversation, count] of counts) {
    const last = lastSeq.get(conversation) ?? 0
    if (last !== count) faults.push(`${conversation} ends at ${last} of ${count}`)
  }
  if (shown !== entries) faults.push(`${shown} entries were shown of ${entries}`)
  const figures = { entries, conversations: counts.size, firstMs: firstAt - began, syncedMs, memory: memory.stop() }
  return { cold: { ...figures, perSecond: (entries / syncedMs) * 1_000 }, faults }
}
