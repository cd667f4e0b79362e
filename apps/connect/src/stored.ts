/**
 * The second receipt: telling a sender that MySQL has its message, by comparing where it lies in the stream with persist's mark. That
 * comparison holds within one generation of the partition; after a change, when the stream may have forgotten the entry, MySQL itself is
 * asked. A sender whose message was forgotten is told so by a `void` of its own, and sends it again.
 */
import type { LogicClient } from '@tidings/accept'
import { logicRpc } from '@tidings/protocol'
import type { Logger, Stoppable } from '@tidings/service'
import { isBelow, type Keys, parseGeneration, parseStreamId, type Redis, type StreamId } from '@tidings/stream'
import type { Session } from './session.js'

const POLL_MS = 250
const MAX_WAITING = 50_000
const ASK_EVERY_MS = 500
const ASKED_AT_ONCE = 500

interface Sent {
  conversation: string
  seq: number
  id: string
  streamId: string
  partition: number
  generation: number
}

interface Waiting extends Sent {
  session: Session
  /** Its conversation was made to leap. */
  leapt?: boolean
  ms: number
  n: number
}

/** The last send of a session in a conversation that was not taken into account, for too many waited. */
type Uncounted = Pick<Sent, 'seq' | 'generation'>

export interface StoredReceipts extends Stoppable {
  /** A session's send was accepted; the receipt follows when it is stored. */
  expect(session: Session, sent: Sent): void
  readonly waiting: number
}

const placeOf = ({ session, conversation }: Waiting): string => `${session.id} ${conversation}`

/**
 * Polls the marks of partitions in which a receipt is due, and no others.
 * @param limit sends that may wait at once
 */
export function createStoredReceipts(deps: {
  redis: Redis
  keys: Keys
  logic: Pick<LogicClient, 'fateOf' | 'leap'>
  log: Logger
  limit?: number
}): StoredReceipts {
  const { redis, keys, logic, log, limit = MAX_WAITING } = deps
  const due = new Map<number, Waiting[]>()
  /** Sent under a generation that is over; what was sent later in such a conversation waits with it, for receipts are cumulative. */
  let doubtful: Waiting[] = []
  /**
   * Within one generation a later receipt covers these too, for persist settles in order. Over a change of generations nobody knows
   * what became of them: from there on the session gets no receipt in that conversation, and its client keeps its copies.
   */
  const uncounted = new WeakMap<Session, Map<string, Uncounted>>()
  let askAt = 0
  let count = 0
  let polling = false

  async function poll(): Promise<void> {
    const partitions = [...due.keys()]
    // One by one: on a cluster a shard that is away holds up its own receipts only. The mark first: an older one does no harm.
    const answers = await Promise.allSettled(
      partitions.map((p) => Promise.all([redis.get(keys.mark(p, 'persist')), redis.get(keys.generation(p))])),
    )
    for (const [i, partition] of partitions.entries()) {
      const answer = answers[i]!
      if (answer.status === 'rejected') continue
      const [mark, record] = answer.value
      const generation = parseGeneration(record ?? '')?.number
      // Not known just now: nothing can be said of what was sent under any.
      if (generation !== undefined) compare(partition, generation, mark ? parseStreamId(mark) : { ms: 0, n: 0 })
    }
    if (doubtful.length > 0 && performance.now() >= askAt) await askMysql()
  }

  function compare(partition: number, generation: number, mark: StreamId): void {
    const left: Waiting[] = []
    const stored: Waiting[] = []
    const inDoubt = new Set(doubtful.map(placeOf))
    for (const one of due.get(partition) ?? []) {
      if (one.session.closed) count--
      else if (one.generation !== generation || inDoubt.has(placeOf(one))) {
        inDoubt.add(placeOf(one))
        doubtful.push(one)
      } else if (isBelow(one, mark)) stored.push(one)
      else left.push(one)
    }
    if (left.length > 0) due.set(partition, left)
    else due.delete(partition)
    count -= stored.length
    tell(stored)
    for (const one of stored) {
      const { seq = one.seq } = uncountedAt(one) ?? {}
      if (seq < one.seq) uncounted.get(one.session)?.delete(one.conversation)
    }
  }

  async function askMysql(): Promise<void> {
    askAt = performance.now() + ASK_EVERY_MS
    const open = doubtful.filter(({ session }) => !session.closed)
    count -= doubtful.length - open.length
    doubtful = open
    const asked = open.slice(0, ASKED_AT_ONCE)
    if (asked.length === 0) return
    // The next ones come first the next time: what stays unknown must not hold up the others.
    doubtful = [...open.slice(asked.length), ...asked]
    await leapAll(asked.filter(({ leapt }) => !leapt))
    for (const one of asked) one.leapt = true
    const entries = asked.map(({ conversation, seq, id }) => ({ conversation, seq, id }))
    const { fates } = await logic.fateOf({ entries })
    const fateOf = new Map(asked.map((one, i) => [one, fates[i]]))
    const forgotten = asked.filter((one) => fateOf.get(one) === logicRpc.Fate.VOID)
    for (const { session, conversation, seq } of forgotten) {
      session.tell({ op: 'void', conversation, from: seq, to: seq })
    }
    count -= forgotten.length
    const known = (one: Waiting): boolean =>
      (fateOf.get(one) ?? logicRpc.Fate.UNSPECIFIED) !== logicRpc.Fate.UNSPECIFIED
    // Of all, asked now or not: a receipt would cover what lies below it.
    const unknownFrom = new Map<string, number>()
    for (const one of doubtful) {
      const place = placeOf(one)
      if (!known(one)) unknownFrom.set(place, Math.min(one.seq, unknownFrom.get(place) ?? one.seq))
    }
    const stored = asked.filter(
      (one) =>
        fateOf.get(one) === logicRpc.Fate.STORED &&
        one.seq < (unknownFrom.get(placeOf(one)) ?? Number.POSITIVE_INFINITY),
    )
    const settled = new Set([...stored, ...forgotten])
    doubtful = doubtful.filter((one) => !settled.has(one))
    count -= stored.length
    tell(stored.filter((one) => one.seq < (uncountedAt(one)?.seq ?? Number.POSITIVE_INFINITY)))
  }

  /** What was forgotten becomes void by the leap of its conversation; it may be that nobody else sends anything there. */
  async function leapAll(asked: readonly Waiting[]): Promise<void> {
    const byPartition = new Map<number, Set<string>>()
    for (const { partition, conversation } of asked) {
      const conversations = byPartition.get(partition)
      if (conversations) conversations.add(conversation)
      else byPartition.set(partition, new Set([conversation]))
    }
    for (const [partition, conversations] of byPartition) {
      await logic.leap({ partition, conversations: [...conversations] })
    }
  }

  const uncountedAt = ({ session, conversation }: Pick<Waiting, 'session' | 'conversation'>): Uncounted | undefined =>
    uncounted.get(session)?.get(conversation)

  function leaveOut(session: Session, { conversation, seq, generation }: Sent): void {
    const ofSession = uncounted.get(session) ?? new Map<string, Uncounted>()
    ofSession.set(conversation, { seq, generation })
    uncounted.set(session, ofSession)
  }

  function tell(stored: readonly Waiting[]): void {
    const bySession = new Map<Session, Map<string, number>>()
    for (const { session, conversation, seq } of stored) {
      const ofSession = bySession.get(session) ?? new Map<string, number>()
      ofSession.set(conversation, Math.max(seq, ofSession.get(conversation) ?? 0))
      bySession.set(session, ofSession)
    }
    for (const [session, conversations] of bySession) {
      for (const [conversation, upTo] of conversations) session.tell({ op: 'stored', conversation, upTo })
    }
  }

  const timer = setInterval(() => {
    if (polling || (due.size === 0 && doubtful.length === 0) || redis.status !== 'ready') return
    polling = true
    poll()
      .catch((error: unknown) => log.debug({ err: error }, 'reading the marks failed; it is tried again'))
      .finally(() => {
        polling = false
      })
  }, POLL_MS)

  return {
    expect(session, sent) {
      const { conversation, generation } = sent
      if ((uncountedAt({ session, conversation })?.generation ?? generation) !== generation) return
      if (count >= limit) return leaveOut(session, sent)
      count++
      const waiting = due.get(sent.partition)
      const one: Waiting = { session, ...sent, ...parseStreamId(sent.streamId) }
      if (waiting) waiting.push(one)
      else due.set(sent.partition, [one])
    },
    get waiting() {
      return count
    },
    async stop() {
      clearInterval(timer)
    },
  }
}
