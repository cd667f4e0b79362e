/** The second receipt: telling a sender that MySQL has its message, by comparing where it lies in the stream with persist's mark. */
import type { Logger, Stoppable } from '@tidings/service'
import type { Keys, Redis } from '@tidings/stream'
import type { Session } from './session.js'

const POLL_MS = 250
const MAX_WAITING = 50_000

interface Waiting {
  session: Session
  conversation: string
  seq: number
  ms: number
  n: number
}

export interface StoredReceipts extends Stoppable {
  /** A session's send was accepted; the receipt follows when it is stored. */
  expect(session: Session, sent: { conversation: string; seq: number; streamId: string; partition: number }): void
  readonly waiting: number
}

const parseId = (id: string): { ms: number; n: number } => {
  const dash = id.indexOf('-')
  return { ms: Number(id.slice(0, dash)), n: Number(id.slice(dash + 1)) }
}

/** Polls the marks of partitions in which a receipt is due, and no others. */
export function createStoredReceipts(redis: Redis, keys: Keys, log: Logger): StoredReceipts {
  const due = new Map<number, Waiting[]>()
  let count = 0
  let polling = false

  async function poll(): Promise<void> {
    const partitions = [...due.keys()]
    const marks = await Promise.all(partitions.map((p) => redis.get(keys.mark(p, 'persist'))))
    for (const [i, partition] of partitions.entries()) {
      const mark = marks[i]
      if (mark) tellBelow(partition, parseId(mark))
    }
  }

  function tellBelow(partition: number, mark: { ms: number; n: number }): void {
    const left: Waiting[] = []
    const stored = new Map<Session, Map<string, number>>()
    for (const one of due.get(partition) ?? []) {
      if (one.session.closed) continue
      if (one.ms > mark.ms || (one.ms === mark.ms && one.n >= mark.n)) {
        left.push(one)
        continue
      }
      const ofSession = stored.get(one.session) ?? new Map<string, number>()
      ofSession.set(one.conversation, Math.max(one.seq, ofSession.get(one.conversation) ?? 0))
      stored.set(one.session, ofSession)
    }
    count += left.length - (due.get(partition)?.length ?? 0)
    if (left.length > 0) due.set(partition, left)
    else due.delete(partition)
    for (const [session, conversations] of stored) {
      for (const [conversation, upTo] of conversations) session.tell({ op: 'stored', conversation, upTo })
    }
  }

  const timer = setInterval(() => {
    if (polling || due.size === 0 || redis.status !== 'ready') return
    polling = true
    poll()
      .catch((error: unknown) => log.debug({ err: error }, 'reading the marks failed; it is tried again'))
      .finally(() => {
        polling = false
      })
  }, POLL_MS)

  return {
    expect(session, { conversation, seq, streamId, partition }) {
      // Beyond the bound a client simply keeps its copy until it asks.
      if (count >= MAX_WAITING) return
      count++
      const waiting = due.get(partition)
      const one = { session, conversation, seq, ...parseId(streamId) }
      if (waiting) waiting.push(one)
      else due.set(partition, [one])
    },
    get waiting() {
      return count
    },
    async stop() {
      clearInterval(timer)
    },
  }
}
