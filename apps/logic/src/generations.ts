/**
 * Generations: helping appends over a Redis that was restarted, promoted or flushed (packages/stream/src/generation.ts says why). Logic
 * does it, for it alone may ask both Redis and MySQL. It also looks by itself, so that what MySQL has and Redis forgot reaches the
 * devices although nobody sends anything.
 */
import { AppError, firstIdAt, logicRpc, parseConversation, roomEventOf } from '@tidings/protocol'
import { backoffMs, type Logger, pause, type Stoppable } from '@tidings/service'
import {
  anyNewerThanGeneration,
  conversationsAfter,
  conversationsSince,
  fatesOf,
  foldsChangedAbove,
  generationLedger,
  generationNumbers,
  isRoomNewerThanGeneration,
  newestEntries,
  newestSends,
  type Store,
} from '@tidings/store'
import {
  CHANGES_OF_MEMBERS,
  type Generations,
  type Keys,
  type LogReader,
  leapConversation,
  mergeFolds,
  onceValue,
  openGeneration,
  type Redis,
  readGeneration,
  redisAway,
  type StoredFacts,
} from '@tidings/stream'
import type { GenerationMetrics } from './metrics.js'
import { restoreMembersOf } from './rooms/restore-members.js'

/** Conversations of one call that leap at the same time. */
const LEAPS_AT_ONCE = 8
const MAX_LEAPS = 1_000
const MAX_ASKED = 1_000
const LOOK_EVERY_MS = 2_000
const RETRY = { firstMs: 200, maxMs: 2_000 }
/** A clientId is good for a day. */
const ONCE_MS = 86_400_000
/** Sends of a conversation whose once-keys come back: far more than a server forgets. */
const MAX_SENDS = 500
/** What Redis forgot altogether is looked up in MySQL whenever it is asked for; who is connected is told of what is as new as this. */
const RECENT_MS = 600_000
const MAX_RECENT = 100_000
/** Conversations that are compared with MySQL in one round trip. */
const COMPARED_AT_ONCE = 500

export interface GenerationDeps {
  redis: Redis
  keys: Keys
  store: Store
  reader: LogReader
  log: Logger
  metrics: GenerationMetrics
}

export interface GenerationKeeper extends Generations, Stoppable {
  /** As `restoreMembers`; an ended room is put back as one that nobody is in. */
  restoreEndedToo(conversation: string): Promise<void>
  /** Told the partitions whose Redis may have forgotten something. */
  onLost(listener: (partition: number) => void): void
}

export function startGenerations(deps: GenerationDeps): GenerationKeeper {
  const { redis, keys, log, metrics } = deps
  const stopper = new AbortController()
  const listeners: ((partition: number) => void)[] = []
  const opening = new Map<number, Promise<void>>()
  const restoring = new Map<string, Promise<void>>()
  /** Partitions whose conversations are still to be compared with MySQL. */
  const behind = new Set<number>()
  /** Number of each partition's generation, as this process knows it. */
  const known = new Map<number, number>()
  let looking: Promise<void> | undefined

  /** One at a time per partition here; over all processes the ledger sees to it. */
  function open(partition: number): Promise<void> {
    let running = opening.get(partition)
    if (!running) {
      running = openOnce(partition).finally(() => opening.delete(partition))
      opening.set(partition, running)
    }
    return running
  }

  async function openOnce(partition: number): Promise<void> {
    const { kind, number } = await openGeneration(redis, keys, partition, generationLedger(deps.store, partition))
    if (kind === 'lost') {
      metrics.lost()
      log.warn({ partition, generation: number }, 'redis may have forgotten entries: conversations leap from now on')
    }
    notice(partition, number)
  }

  /** Also of what another process has opened: it may have died before it looked what was forgotten. */
  function notice(partition: number, number: number): void {
    if (known.get(partition) === number) return
    known.set(partition, number)
    // Before the first there was nothing to forget.
    if (number === 1) return
    behind.add(partition)
    for (const listener of listeners) listener(partition)
    lookSoon()
  }

  async function leap(partition: number, conversations: readonly string[]): Promise<void> {
    await open(partition)
    for (let at = 0; at < conversations.length; at += LEAPS_AT_ONCE) {
      await Promise.all(conversations.slice(at, at + LEAPS_AT_ONCE).map(leapOne))
    }
  }

  async function leapOne(conversation: string): Promise<void> {
    // What listed the conversation for its people may be forgotten too; and first, so that nobody finds the head without it.
    await indexAgain(conversation)
    const leapt = await leapConversation(redis, keys, conversation, (head) => storedAbove(deps, conversation, head))
    if (!leapt) return
    metrics.leapt()
    log.info({ conversation, from: leapt.from, to: leapt.to }, 'a conversation leapt')
  }

  async function leapUsed(partition: number, conversation: string): Promise<boolean> {
    const [head] = await deps.reader.heads([conversation])
    const used = head! > 0 || (await newestEntries(deps.store, [conversation])).size > 0
    if (used) await leap(partition, [conversation])
    return used
  }

  async function indexAgain(conversation: string): Promise<void> {
    try {
      await Promise.all(usersOf(conversation).map((user) => redis.sadd(keys.conversations(user), conversation)))
    } catch (error) {
      throw redisAway(error)
    }
  }

  /** Who is in a room, once for all who ask at the same moment. */
  function restore(conversation: string, endedToo: boolean): Promise<void> {
    const key = `${conversation} ${endedToo}`
    let running = restoring.get(key)
    if (!running) {
      running = open(keys.partitionOf(conversation))
        .then(() => restoreMembersOf(deps, conversation, endedToo))
        .finally(() => restoring.delete(key))
      restoring.set(key, running)
    }
    return running
  }

  /** Rows that Redis does not know of: their conversations leap now, so that the sweep of every node finds them. */
  async function showForgotten(): Promise<void> {
    // Those that are opened anew meanwhile are compared once more.
    const partitions = new Set(behind)
    behind.clear()
    try {
      const recent = await conversationsSince(deps.store, firstIdAt(Date.now() - RECENT_MS), MAX_RECENT)
      for (let at = 0; at < recent.length; at += COMPARED_AT_ONCE) {
        await leapForgotten(recent.slice(at, at + COMPARED_AT_ONCE), partitions, 0)
      }
      await showPartlyForgotten(partitions)
    } catch (error) {
      for (const partition of partitions) behind.add(partition)
      throw error
    }
  }

  /** Of any age: how long Redis was away, and how old a copy it came back with, is not known here. */
  async function showPartlyForgotten(partitions: ReadonlySet<number>): Promise<void> {
    for (let after = ''; !stopper.signal.aborted; ) {
      const page = await conversationsAfter(deps.store, after, COMPARED_AT_ONCE)
      await leapForgotten(page, partitions, 1)
      if (page.length < COMPARED_AT_ONCE) return
      after = page.at(-1)!.conversation
    }
  }

  /** @param leastHead conversations with a lower head in Redis stay as they are */
  async function leapForgotten(
    rows: readonly { conversation: string; seq: number }[],
    partitions: ReadonlySet<number>,
    leastHead: number,
  ): Promise<void> {
    const concerned = rows.filter(({ conversation }) => partitions.has(keys.partitionOf(conversation)))
    const heads = await deps.reader.heads(concerned.map(({ conversation }) => conversation))
    const byPartition = new Map<number, string[]>()
    for (const [i, { conversation, seq }] of concerned.entries()) {
      if (heads[i]! < leastHead || seq <= heads[i]!) continue
      const partition = keys.partitionOf(conversation)
      byPartition.set(partition, [...(byPartition.get(partition) ?? []), conversation])
    }
    for (const [partition, conversations] of byPartition) await leap(partition, conversations)
  }

  async function look(): Promise<void> {
    const partitions = Array.from({ length: keys.partitions }, (_, partition) => partition)
    // One that is away, on a shard of its own, does not hold up the others.
    const answers = await Promise.allSettled(partitions.map((partition) => readGeneration(redis, keys, partition)))
    const numbers = await latestNumbers()
    const others: number[] = []
    for (const [partition, answer] of answers.entries()) {
      if (answer.status === 'rejected') continue
      const { generation, server } = answer.value
      const latest = (numbers.get(partition) ?? 0) <= (generation?.number ?? 0)
      if (generation?.server === server && latest) notice(partition, generation.number)
      else others.push(partition)
    }
    const opened = await Promise.allSettled(others.map(open))
    if (behind.size > 0) await showForgotten()
    const failed = [...answers, ...opened].find((one) => one.status === 'rejected')
    if (failed) throw failed.reason
  }

  /** Nothing while MySQL is away: then the records count. */
  async function latestNumbers(): Promise<Map<number, number>> {
    try {
      return await generationNumbers(deps.store)
    } catch (error) {
      if (error instanceof AppError && error.code === 'unavailable') return new Map()
      throw error
    }
  }

  async function lookUntilDone(): Promise<void> {
    for (let attempt = 0; !stopper.signal.aborted; attempt++) {
      try {
        await look()
        if (behind.size === 0) return
      } catch (error) {
        if (!(error instanceof AppError)) log.error({ err: error }, 'looking after the generations failed')
        await pause(backoffMs(attempt, RETRY), stopper.signal)
      }
    }
  }

  function lookSoon(): void {
    looking ??= lookUntilDone().finally(() => {
      looking = undefined
      // Found while the last look ended.
      if (behind.size > 0 && !stopper.signal.aborted) lookSoon()
    })
  }

  const timer = setInterval(lookSoon, LOOK_EVERY_MS)
  redis.on('ready', lookSoon)
  lookSoon()
  return {
    open,
    leap,
    leapUsed,
    restoreMembers: (conversation) => restore(conversation, false),
    restoreEndedToo: (conversation) => restore(conversation, true),
    onLost: (listener) => void listeners.push(listener),
    async stop() {
      clearInterval(timer)
      redis.off('ready', lookSoon)
      stopper.abort()
      await looking
    },
  }
}

/** Of a room they stand in MySQL, and its joins have listed it. */
function usersOf(conversation: string): readonly string[] {
  const parsed = parseConversation(conversation)
  if (parsed?.kind === 'dm') return [...new Set(parsed.users)]
  return parsed?.kind === 'feed' ? [parsed.user] : []
}

/** What MySQL knows of a conversation whose head in Redis is `head`. @throws AppError `unavailable` */
async function storedAbove(
  { redis, store, keys }: GenerationDeps,
  conversation: string,
  head: number,
): Promise<StoredFacts> {
  const newest = (await newestEntries(store, [conversation])).get(conversation)?.entry
  if (!newest) {
    const newer = head === 0 && (await isNewer(store, keys.partitionOf(conversation), conversation))
    return { seq: 0, n: 0, sends: [], newer }
  }
  if (newest.seq <= head) return { seq: newest.seq, n: newest.n, sends: [], newer: false }
  await restoreFolds({ redis, keys, store }, conversation, head)
  const now = Date.now()
  const sends = await newestSends(store, conversation, { above: head, since: now - ONCE_MS, limit: MAX_SENDS })
  return {
    seq: newest.seq,
    n: newest.n,
    sends: sends.map((send) => ({
      ...send,
      from: roomEventOf(send) ? CHANGES_OF_MEMBERS : send.from,
      value: onceValue(send),
      ageMs: Math.max(0, now - send.sentAt),
    })),
    newer: false,
  }
}

/**
 * What changes that Redis has forgotten have made of entries that it still has: a recalled one must not be read from its log. Before the
 * leap, so that nothing is appended without it; and what a worker had in hand was fenced off before.
 */
async function restoreFolds(
  { redis, store, keys }: Pick<GenerationDeps, 'redis' | 'store' | 'keys'>,
  conversation: string,
  head: number,
): Promise<void> {
  // Of a conversation that is forgotten as a whole, nothing is read from Redis.
  if (head === 0) return
  const folds = await foldsChangedAbove(store, conversation, head)
  if (folds.length === 0) return
  try {
    await mergeFolds(redis, keys, conversation, folds)
  } catch (error) {
    throw redisAway(error)
  }
}

/** Can it not have existed before its partition's generation began? */
async function isNewer(store: Store, partition: number, conversation: string): Promise<boolean> {
  const parsed = parseConversation(conversation)
  if (parsed?.kind === 'room') return isRoomNewerThanGeneration(store, partition, parsed.room)
  const users = usersOf(conversation)
  return users.length > 0 && anyNewerThanGeneration(store, partition, users)
}

/** @throws AppError `invalid_request`, `unavailable` */
export async function openPartition(
  deps: { keys: Keys; generations: Generations },
  { partition }: logicRpc.OpenGenerationRequest,
): Promise<void> {
  await deps.generations.open(partitionOf(deps.keys, partition))
}

/** @returns those that are to stay as they are, having no entry @throws AppError `invalid_request`, `unavailable`: some may have leapt; repeat all */
export async function leapAll(
  deps: { keys: Keys; generations: Generations },
  request: logicRpc.LeapRequest,
): Promise<string[]> {
  const { conversations } = request
  const partition = partitionOf(deps.keys, request.partition)
  const fit = conversations.every((name) => parseConversation(name) && deps.keys.partitionOf(name) === partition)
  if (!fit || conversations.length > MAX_LEAPS) {
    throw new AppError('invalid_request', `At most ${MAX_LEAPS} conversations, all of the partition.`)
  }
  if (!request.usedOnly) {
    await deps.generations.leap(partition, conversations)
    return []
  }
  const unused: string[] = []
  for (const one of conversations) if (!(await deps.generations.leapUsed(partition, one))) unused.push(one)
  return unused
}

function partitionOf(keys: Keys, partition: number): number {
  if (Number.isInteger(partition) && partition >= 0 && partition < keys.partitions) return partition
  throw new AppError('invalid_request', 'There is no such partition.')
}

const FATES = {
  stored: logicRpc.Fate.STORED,
  void: logicRpc.Fate.VOID,
  unknown: logicRpc.Fate.UNSPECIFIED,
}

/** @throws AppError `invalid_request`, `unavailable` */
export async function fateOf(store: Store, { entries }: logicRpc.FateOfRequest): Promise<logicRpc.Fate[]> {
  if (entries.length > MAX_ASKED) throw new AppError('invalid_request', `At most ${MAX_ASKED} entries.`)
  return (await fatesOf(store, entries)).map((fate) => FATES[fate])
}
