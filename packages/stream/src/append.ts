/**
 * Stage 2 of 6, append: an accepted item gets its number and is written. From accept; to the streams, where route (push) and persist
 * read on. Promise: whatever is answered with a seq is in the conversation's log and in the partition's stream, in Redis' AOF as
 * Redis is configured, and the same clientId is written once. On failure: a coded error; `unavailable` and `overloaded` mean that
 * nothing was written, `outcome_unknown` that nobody can tell, so repeat it with the same clientId.
 */
import { AppError } from '@tidings/protocol'
import { groupBy } from '@tidings/service'
import { answer, asAppendError, helped, NEVER, notAccepted } from './append-answers.js'
import { createAppendCall } from './append-call.js'
import {
  type Appended,
  type AppendItem,
  type Batch,
  countOf,
  itemsOf,
  type Line,
  takeBatch,
  type Waiting,
} from './append-lines.js'
import { addressOf, readsApart } from './cluster.js'
import type { Generations } from './generations.js'
import type { Keys } from './keys.js'
import type { StreamMetrics } from './metrics.js'
import { createPlaces } from './places.js'
import { type Redis, together } from './redis.js'
import { loadScript, scriptFile } from './script.js'

/** Items that may wait in this process before new ones are refused. */
const MAX_WAITING = 4_096
const REPLICA_WAIT_MS = 500
/** On a cluster, how long a batch may be under way before its server gets the next one, of other partitions. */
const SLOW_BATCH_MS = 20
/** How often one batch may be told to open its partition, or to let conversations leap. */
const MAX_DETOURS = 4

const endless = (): AppError => notAccepted(new Error('the partition keeps changing its generation'))

const conversationsOf = (items: readonly Waiting[]): string[] => [
  ...new Set(items.map(({ item }) => item.conversation)),
]

const script = loadScript(scriptFile('append.lua', import.meta.url))

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
 * Everything appended in one turn of the event loop goes out as one batch per server, with one batch in flight; what comes meanwhile
 * waits for the next. So batches form by themselves under load and nothing is delayed at rest. On one server a batch is one call; on a
 * cluster it is a call for each partition, since a script must not touch the keys of two slots, and all of them leave in one write.
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
  const placeOf = createPlaces(keys)
  const callOf = createAppendCall(keys)
  const lines = Array.from({ length: keys.partitions }, (_, partition) => ({
    line: { partition, queue: [], busy: false, held: 0, generation: 0 } as Line,
    address: addressOf(redis, keys.messages(partition)),
  }))
  /** Those with something in their queue that are neither busy nor held, in the order in which they came. */
  const dueLines = new Set<Line>()
  /** Addresses of servers whose last batch has not been answered. */
  const busy = new Set<string | undefined>()
  let flushing = false
  let waiting = 0
  let whenIdle: (() => void)[] = []

  /** Unless something holds it up, what waits in the line goes at the end of this turn, or when its server has answered. */
  function due(line: Line): void {
    if (line.busy || line.held > 0 || line.queue.length === 0) return
    dueLines.add(line)
    flushSoon()
  }

  function flushSoon(): void {
    if (flushing) return
    flushing = true
    setImmediate(() => {
      flushing = false
      together(redis, flush)
    })
  }

  /** A batch to each server that has something due and nothing to answer. A slot may have moved since a line came to wait. */
  function flush(): void {
    const byServer = groupBy(dueLines, ({ partition }) => lines[partition]!.address())
    for (const [address, due] of byServer) if (!busy.has(address)) send(address, takeBatch(due))
  }

  function send(address: string | undefined, batch: Batch): void {
    for (const line of batch.keys()) {
      dueLines.delete(line)
      line.busy = true
    }
    busy.add(address)
    if (!apart) {
      void appendNow(batch, () => {
        busy.delete(address)
        flush()
      })
      return
    }
    // The answers of a batch come together. A partition whose slot is on its way to another server may get none for a second, and its
    // neighbours wait neither for that nor for a batch of such partitions only.
    let over = false
    const next = (): void => {
      if (over) return
      over = true
      clearTimeout(timer)
      busy.delete(address)
      flushSoon()
    }
    const timer = setTimeout(next, SLOW_BATCH_MS)
    for (const one of batch) void appendNow(new Map([one]), next)
  }

  /** One call. @param answered told when its items have their answers, or their lines wait for help; whatever comes of it */
  async function appendNow(batch: Batch, answered: () => void): Promise<void> {
    const began = performance.now()
    try {
      const replies = await call(batch)
      metrics.append.done(performance.now() - began, countOf(batch))
      let i = 0
      for (const [line, items] of batch) settle(line, items, replies[i++]!)
    } catch (error) {
      refuse(itemsOf(batch), error)
    }
    for (const line of batch.keys()) {
      line.busy = false
      due(line)
    }
    answered()
  }

  function settle(line: Line, items: readonly Waiting[], [generation, ...answers]: readonly string[]): void {
    const { partition } = line
    if (generation === 'G') {
      detour(line, items, () => generations.open(partition))
      return
    }
    line.generation = Number(generation)
    const behind: Waiting[] = []
    const unknown: Waiting[] = []
    const outside: Waiting[] = []
    for (const [i, one] of items.entries()) {
      if (answers[i] === 'L') (one.item.outsider ? outside : behind).push(one)
      else if (answers[i] === 'U') unknown.push(one)
      else answer(one, answers[i]!, partition, line.generation)
    }
    left(items.length - behind.length - unknown.length - outside.length)
    if (behind.length > 0) detour(line, behind, () => generations.leap(partition, conversationsOf(behind)))
    // By room: one that is not there any more is nothing to the others.
    for (const conversation of conversationsOf(unknown)) {
      const ofRoom = unknown.filter(({ item }) => item.conversation === conversation)
      detour(line, ofRoom, () => generations.restoreMembers(conversation))
    }
    for (const one of outside) void lookBehind(line, one)
  }

  /** What somebody sent there, who may not write any more, may have been forgotten here. The line does not wait for that. */
  async function lookBehind(line: Line, one: Waiting): Promise<void> {
    const { partition } = line
    let used = false
    try {
      if (++one.detours > MAX_DETOURS) throw endless()
      await helped(async () => {
        used = await generations.leapUsed(partition, one.item.conversation)
      })
    } catch (error) {
      refuse([one], error)
      return
    }
    if (used) {
      line.queue.push(one)
      due(line)
    } else {
      answer(one, NEVER, partition, line.generation)
      left(1)
    }
  }

  /** Items go back to the head of their line, which is held until `help` has come. */
  function detour(line: Line, items: readonly Waiting[], help: () => Promise<void>): void {
    line.held++
    void helped(help)
      .then(() => {
        const tired = items.filter((one) => ++one.detours > MAX_DETOURS)
        if (tired.length > 0) refuse(tired, endless())
        line.queue.unshift(...items.filter(({ detours }) => detours <= MAX_DETOURS))
      })
      .catch((error: unknown) => refuse(items, error))
      .finally(() => {
        line.held--
        due(line)
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
    const [{ partition }] = [...batch.keys()] as [Line]
    const written = { key: keys.messages(partition), ...callOf(batch) }
    if (replicas === 0) return (await script.runWritten(redis, written)) as string[][]
    const waiting = { count: replicas, waitMs: REPLICA_WAIT_MS }
    const { answer, reached } = await script.runReplicated(redis, written, waiting)
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
        const place = placeOf(item.conversation)
        const { line } = lines[place.partition]!
        line.queue.push({ item, place, detours: 0, resolve, reject })
        waiting++
        due(line)
      })
    },
    serverOf: (conversation) => (apart ? keys.partitionOf(conversation) : 0),
    get waiting() {
      return waiting
    },
    idle: () => (waiting === 0 ? Promise.resolve() : new Promise((resolve) => whenIdle.push(resolve))),
  }
}
