/**
 * Stage 2 of 6, append: an accepted item gets its number and is written. From accept; to the streams, where route (push) and persist
 * read on. Promise: whatever is answered with a seq is in the conversation's log and in the partition's stream, in Redis' AOF as
 * Redis is configured, and the same clientId is written once. On failure: a coded error; `unavailable` and `overloaded` mean that
 * nothing was written, `outcome_unknown` that nobody can tell, so repeat it with the same clientId.
 */
import { createHash } from 'node:crypto'
import { AppError, countsAsMessage, type Entry } from '@tidings/protocol'
import { isRefused, readsApart } from './cluster.js'
import { isFull, redisFull } from './full.js'
import type { Generations } from './generations.js'
import type { Keys } from './keys.js'
import type { StreamMetrics } from './metrics.js'
import { type Redis, together } from './redis.js'
import { loadScript, scriptFile } from './script.js'

/** Most items, and most bytes of content, in one call. */
const MAX_ITEMS = 256
const MAX_BYTES = 1024 * 1024
/** Items that may wait in this process before new ones are refused. */
const MAX_WAITING = 4_096
const REPLICA_WAIT_MS = 500
/** How often one batch may be told to open its partition, or to let conversations leap. */
const MAX_DETOURS = 4

const script = loadScript(scriptFile('append.lua', import.meta.url))

export interface AppendItem {
  /** Snowflake, decimal. */
  id: string
  conversation: string
  from: string
  type: string
  content: string
  clientId: string
  /** Milliseconds since 1970. */
  sentAt: number
  trace: string
}

export interface Appended {
  id: string
  seq: number
  sentAt: number
  /** Where the entry lies in the partition's stream. */
  streamId: string
  /** Number of the generation that answered: in a later one, the stream may not hold the entry any more. */
  generation: number
  partition: number
  /** An earlier send with the same clientId and body was answered; this is that answer. */
  duplicate: boolean
}

interface Waiting {
  item: AppendItem
  /** How often it was sent back because its partition must be opened, or its conversation must leap. */
  detours: number
  resolve(appended: Appended): void
  reject(error: AppError): void
}

/** What waits in one partition. */
interface Line {
  readonly partition: number
  readonly queue: Waiting[]
  /** Its generation is being opened, or conversations of it leap: until then nothing of it is appended, so the order of sends stands. */
  held: boolean
  /** Number of the latest generation that it was appended under. */
  generation: number
}

/** Lines that go out in one call: all of them on a single server, one on a cluster. */
interface Lane {
  /** Those with something in their queue that are not held, in the order in which they came. */
  readonly due: Set<Line>
  busy: boolean
}

export interface Appender {
  append(item: AppendItem): Promise<Appended>
  /** Which calls a conversation's items go into: those of another number are to another server. */
  serverOf(conversation: string): number
  /** Items that wait for their call or for its answer. */
  readonly waiting: number
  /** Resolves when nothing waits any more. */
  idle(): Promise<void>
}

/**
 * Everything appended in one turn of the event loop goes out as one call per server, with one call in flight; what comes meanwhile
 * waits for the next. So batches form by themselves under load and nothing is delayed at rest.
 * @param redis a `command` connection; one of its own where replicas are waited for, since waiting holds up what comes behind
 * @param replicas how many replicas must have the entry before it counts as appended; a duplicate waits for them too
 */
export function createAppender(options: {
  redis: Redis
  keys: Keys
  replicas: number
  /** Asked when Redis has forgotten, or may have. */
  generations: Generations
  metrics: StreamMetrics
}): Appender {
  const { redis, keys, replicas, generations, metrics } = options
  const apart = readsApart(redis)
  const shared: Lane = { due: new Set(), busy: false }
  const lines = Array.from({ length: keys.partitions }, (_, partition) => ({
    line: { partition, queue: [], held: false, generation: 0 } as Line,
    lane: apart ? { due: new Set<Line>(), busy: false } : shared,
  }))
  const dueLanes = new Set<Lane>()
  let waiting = 0
  let whenIdle: (() => void)[] = []

  /** At the end of this turn. */
  function flushSoon(partition: number): void {
    const { line, lane } = lines[partition]!
    lane.due.add(line)
    if (dueLanes.size === 0) setImmediate(flushDue)
    dueLanes.add(lane)
  }

  function flushDue(): void {
    const lanes = [...dueLanes]
    dueLanes.clear()
    together(redis, () => {
      for (const lane of lanes) void flush(lane)
    })
  }

  async function flush(lane: Lane): Promise<void> {
    if (lane.busy || lane.due.size === 0) return
    lane.busy = true
    const batch = takeBatch(lane)
    const began = performance.now()
    try {
      const replies = await call(batch)
      metrics.append.done(performance.now() - began, itemsOf(batch).length)
      let i = 0
      for (const [line, items] of batch) settle(line, items, replies[i++]!)
    } catch (error) {
      refuse(itemsOf(batch), error)
    }
    lane.busy = false
    void flush(lane)
  }

  function settle(line: Line, items: readonly Waiting[], [generation, ...answers]: readonly string[]): void {
    const { partition } = line
    if (generation === 'G') {
      detour(line, items, () => generations.open(partition))
      return
    }
    line.generation = Number(generation)
    const behind: Waiting[] = []
    for (const [i, one] of items.entries()) {
      if (answers[i] === 'L') behind.push(one)
      else answer(one, answers[i]!, partition, line.generation)
    }
    left(items.length - behind.length)
    if (behind.length === 0) return
    const conversations = [...new Set(behind.map(({ item }) => item.conversation))]
    detour(line, behind, () => generations.leap(partition, conversations))
  }

  /** Items go back to the head of their line, which is held until `help` has come. */
  function detour(line: Line, items: readonly Waiting[], help: () => Promise<void>): void {
    line.held = true
    lines[line.partition]!.lane.due.delete(line)
    void helped(help)
      .then(() => {
        const endless = items.filter((one) => ++one.detours > MAX_DETOURS)
        if (endless.length > 0) refuse(endless, notAccepted(new Error('the partition keeps changing its generation')))
        line.queue.unshift(...items.filter(({ detours }) => detours <= MAX_DETOURS))
      })
      .catch((error: unknown) => refuse(items, error))
      .finally(() => {
        line.held = false
        if (line.queue.length > 0) flushSoon(line.partition)
      })
  }

  function refuse(items: readonly Waiting[], error: unknown): void {
    const failure = asAppendError(error)
    metrics.append.failed(failure.code, items.length)
    for (const one of items) one.reject(failure)
    left(items.length)
  }

  function left(count: number): void {
    waiting -= count
    if (waiting > 0) return
    for (const resolve of whenIdle) resolve()
    whenIdle = []
  }

  /** @returns per line the number of the generation, then one answer per item; or `G` alone */
  async function call(batch: Batch): Promise<string[][]> {
    const names: string[] = []
    const args: (string | number)[] = [batch.size]
    for (const [line, items] of batch) args.push(items.length, line.generation)
    for (const [{ partition }, items] of batch) {
      names.push(keys.messages(partition), keys.recent(partition), keys.generation(partition), keys.leapt(partition))
      for (const { item } of items) {
        const { conversation, from, clientId } = item
        const seq = keys.seq(conversation)
        // Without a clientId there is no once-key; its place is held by a key of the same slot that is not read.
        const once = clientId === '' ? seq : keys.once(conversation, from, clientId)
        names.push(seq, keys.skip(conversation), keys.log(conversation), keys.read(conversation), once)
        args.push(item.id, conversation, from, item.type, countsAsMessage(item.type) ? 1 : 0, item.content)
        args.push(clientId, item.sentAt, item.trace, clientId === '' ? '' : digestOf(item))
      }
    }
    if (replicas === 0) return (await script.run(redis, names, args)) as string[][]
    const waiting = { count: replicas, waitMs: REPLICA_WAIT_MS }
    const { answer, reached } = await script.runReplicated(redis, names, args, waiting)
    if (reached < replicas) {
      throw new AppError('outcome_unknown', 'Too few replicas have it. Repeat it with the same clientId.', {
        retryAfter: 1,
      })
    }
    return answer as string[][]
  }

  return {
    append(item) {
      if (redis.status !== 'ready') return Promise.reject(notAccepted(undefined))
      if (waiting >= MAX_WAITING) {
        return Promise.reject(new AppError('overloaded', 'Too many messages wait to be written.', { retryAfter: 1 }))
      }
      return new Promise<Appended>((resolve, reject) => {
        const partition = keys.partitionOf(item.conversation)
        const { line } = lines[partition]!
        line.queue.push({ item, detours: 0, resolve, reject })
        waiting++
        if (!line.held) flushSoon(partition)
      })
    },
    serverOf: (conversation) => (apart ? keys.partitionOf(conversation) : 0),
    get waiting() {
      return waiting
    },
    idle: () => (waiting === 0 ? Promise.resolve() : new Promise((resolve) => whenIdle.push(resolve))),
  }
}

type Batch = ReadonlyMap<Line, readonly Waiting[]>

const itemsOf = (batch: Batch): Waiting[] => [...batch.values()].flat()

/** The lines in turn, so that a busy one does not hold up the others for ever; what does not fit waits for the next call. */
function takeBatch({ due }: Lane): Batch {
  const batch = new Map<Line, Waiting[]>()
  let bytes = 0
  let count = 0
  for (const line of [...due]) {
    const { queue } = line
    let taken = 0
    while (taken < queue.length && count < MAX_ITEMS && (count === 0 || bytes + sizeOf(queue[taken]!) <= MAX_BYTES)) {
      bytes += sizeOf(queue[taken]!)
      taken++
      count++
    }
    // It keeps its turn: were it moved behind those that went, they would all come first again.
    if (taken === 0) continue
    batch.set(line, queue.splice(0, taken))
    due.delete(line)
    if (queue.length > 0) due.add(line)
  }
  return batch
}

const sizeOf = ({ item }: Waiting): number => item.content.length

/** What makes two sends with one clientId the same send. */
const digestOf = ({ type, content }: Pick<AppendItem, 'type' | 'content'>): string =>
  createHash('sha256').update(type).update('\n').update(content).digest('base64url').slice(0, 22)

/** What a once-key holds for an entry that is in MySQL: in the stream it lies nowhere any more, so every mark is beyond it. */
export const onceValue = (entry: Pick<Entry, 'id' | 'seq' | 'type' | 'content' | 'sentAt'>): string =>
  `${digestOf(entry)} ${entry.id} ${entry.seq} ${entry.sentAt} 0-0`

function answer({ item, resolve, reject }: Waiting, reply: string, partition: number, generation: number): void {
  const parts = reply.split(' ')
  switch (parts[0]) {
    case 'A':
      resolve({
        id: item.id,
        seq: Number(parts[1]),
        sentAt: item.sentAt,
        streamId: parts[2]!,
        partition,
        generation,
        duplicate: false,
      })
      return
    case 'D':
      resolve({
        id: parts[1]!,
        seq: Number(parts[2]),
        sentAt: Number(parts[3]),
        streamId: parts[4]!,
        partition,
        generation,
        duplicate: true,
      })
      return
    case 'C':
      reject(new AppError('idempotency_conflict', 'This clientId was used for another message in this conversation.'))
      return
    default:
      reject(notAccepted(new Error(reply.slice(2))))
  }
}

const notAccepted = (cause: unknown): AppError =>
  new AppError('unavailable', 'The message store does not answer now; nothing was accepted. Try again shortly.', {
    cause,
    retryAfter: 1,
  })

/** Whoever helps has not appended anything, whatever comes of it. */
async function helped(help: () => Promise<void>): Promise<void> {
  try {
    await help()
  } catch (error) {
    throw notAccepted(error)
  }
}

function asAppendError(error: unknown): AppError {
  if (error instanceof AppError) return error
  if (isFull(error)) return redisFull(error)
  // Redis itself said no (loading, read only, moved), or was not asked: the script has not run.
  if (isRefused(error)) return notAccepted(error)
  return new AppError('outcome_unknown', 'The message store did not answer. Repeat it with the same clientId.', {
    cause: error,
    retryAfter: 1,
  })
}
