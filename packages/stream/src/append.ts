/**
 * Stage 2 of 6, append: an accepted item gets its number and is written. From accept; to the streams, where route (push) and persist
 * read on. Promise: whatever is answered with a seq is in the conversation's log and in the partition's stream, in Redis' AOF as
 * Redis is configured, and the same clientId is written once. On failure: a coded error; `unavailable` and `overloaded` mean that
 * nothing was written, `outcome_unknown` that nobody can tell, so repeat it with the same clientId.
 */
import { createHash } from 'node:crypto'
import { AppError, countsAsMessage, type Entry } from '@tidings/protocol'
import { isRefused } from './cluster.js'
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
  bytes: number
  resolve(appended: Appended): void
  reject(error: AppError): void
}

export interface Appender {
  append(item: AppendItem): Promise<Appended>
  /** Items that wait for their call or for its answer. */
  readonly waiting: number
  /** Resolves when nothing waits any more. */
  idle(): Promise<void>
}

/**
 * Everything appended in one turn of the event loop goes out as one call per partition, with one call in flight per partition; what
 * comes meanwhile waits for the next. So batches form by themselves under load and nothing is delayed at rest.
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
  const lanes = Array.from({ length: keys.partitions }, () => ({ queue: [] as Waiting[], busy: false, generation: 0 }))
  const due = new Set<number>()
  let waiting = 0
  let whenIdle: (() => void)[] = []

  function flushDue(): void {
    const partitions = [...due]
    due.clear()
    together(redis, () => {
      for (const partition of partitions) void flush(partition)
    })
  }

  async function flush(partition: number): Promise<void> {
    const lane = lanes[partition]!
    if (lane.busy || lane.queue.length === 0) return
    lane.busy = true
    const batch = takeBatch(lane.queue)
    const began = performance.now()
    let left = batch
    try {
      for (let detours = 0; left.length > 0; detours++) {
        if (detours > MAX_DETOURS) throw notAccepted(new Error('the partition keeps changing its generation'))
        left = await appendSome(partition, left)
      }
      metrics.append.done(performance.now() - began, batch.length)
    } catch (error) {
      const failure = asAppendError(error)
      metrics.append.failed(failure.code, left.length)
      for (const one of left) one.reject(failure)
    }
    waiting -= batch.length
    lane.busy = false
    if (lane.queue.length > 0) void flush(partition)
    else if (waiting === 0) {
      for (const resolve of whenIdle) resolve()
      whenIdle = []
    }
  }

  /**
   * One call, and what it asks for: that the partition is opened for the server that answered, or that conversations leap. All items of
   * such a conversation wait for it, and the partition's later items wait behind them, so the order of sends stands.
   * @returns the items that were not answered
   */
  async function appendSome(partition: number, batch: readonly Waiting[]): Promise<Waiting[]> {
    const [generation, ...answers] = await call(partition, batch)
    if (generation === 'G') {
      await helped(generations.open(partition))
      return [...batch]
    }
    lanes[partition]!.generation = Number(generation)
    const behind: Waiting[] = []
    for (const [i, one] of batch.entries()) {
      if (answers[i] === 'L') behind.push(one)
      else answer(one, answers[i]!, partition, Number(generation))
    }
    if (behind.length > 0) {
      try {
        await helped(generations.leap(partition, [...new Set(behind.map(({ item }) => item.conversation))]))
      } catch (error) {
        const failure = asAppendError(error)
        metrics.append.failed(failure.code, behind.length)
        for (const one of behind) one.reject(failure)
        return []
      }
    }
    return behind
  }

  /** @returns the number of the generation, then one answer per item; or `G` alone */
  async function call(partition: number, batch: readonly Waiting[]): Promise<string[]> {
    const names = [
      ...[keys.messages(partition), keys.recent(partition)],
      ...[keys.generation(partition), keys.leapt(partition)],
    ]
    const args: (string | number)[] = []
    for (const { item } of batch) {
      const { conversation, from, clientId } = item
      const seq = keys.seq(conversation)
      // Without a clientId there is no once-key; its place is held by a key of the same slot that is not read.
      const once = clientId === '' ? seq : keys.once(conversation, from, clientId)
      names.push(seq, keys.skip(conversation), keys.log(conversation), keys.read(conversation), once)
      args.push(item.id, conversation, from, item.type, countsAsMessage(item.type) ? 1 : 0, item.content)
      args.push(clientId, item.sentAt, item.trace)
    }
    for (const { item } of batch) args.push(item.clientId === '' ? '' : digestOf(item))
    args.push(lanes[partition]!.generation)
    if (replicas === 0) return (await script.run(redis, names, args)) as string[]
    const waiting = { count: replicas, waitMs: REPLICA_WAIT_MS }
    const { answer, reached } = await script.runReplicated(redis, names, args, waiting)
    if (reached < replicas) {
      throw new AppError('outcome_unknown', 'Too few replicas have it. Repeat it with the same clientId.', {
        retryAfter: 1,
      })
    }
    return answer as string[]
  }

  return {
    append(item) {
      if (redis.status !== 'ready') return Promise.reject(notAccepted(undefined))
      if (waiting >= MAX_WAITING) {
        return Promise.reject(new AppError('overloaded', 'Too many messages wait to be written.', { retryAfter: 1 }))
      }
      return new Promise<Appended>((resolve, reject) => {
        const partition = keys.partitionOf(item.conversation)
        lanes[partition]!.queue.push({ item, bytes: item.content.length, resolve, reject })
        waiting++
        if (due.size === 0) setImmediate(flushDue)
        due.add(partition)
      })
    },
    get waiting() {
      return waiting
    },
    idle: () => (waiting === 0 ? Promise.resolve() : new Promise((resolve) => whenIdle.push(resolve))),
  }
}

function takeBatch(queue: Waiting[]): Waiting[] {
  let bytes = 0
  let count = 0
  while (count < queue.length && count < MAX_ITEMS && (count === 0 || bytes + queue[count]!.bytes <= MAX_BYTES)) {
    bytes += queue[count]!.bytes
    count++
  }
  return queue.splice(0, count)
}

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
async function helped(help: Promise<void>): Promise<void> {
  try {
    await help
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
