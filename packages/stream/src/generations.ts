/** Generations in Redis: reading a partition's record, writing it, and letting conversations leap. Decided in generation.ts. */
import { setTimeout as delay } from 'node:timers/promises'
import { AppError } from '@tidings/protocol'
import {
  closedAs,
  decideClosing,
  decideOpening,
  formatGeneration,
  type Generation,
  type HeadFacts,
  type Leap,
  type LedgerRow,
  type Opening,
  parseGeneration,
  planLeap,
} from './generation.js'
import { GROUPS, type Keys } from './keys.js'
import { type Redis, redisAway } from './redis.js'
import { loadScript, scriptFile } from './script.js'

const look = loadScript(scriptFile('generation-read.lua', import.meta.url))
const install = loadScript(scriptFile('generation.lua', import.meta.url))
const leapScript = loadScript(scriptFile('leap.lua', import.meta.url))

/** What may change under a caller is looked at again this often. */
const LOOKS = 5
const ONCE_SECONDS = 86_400
const HALFWAY_MS = 100

/** How an append is helped over a change of servers. Each may take a round trip to MySQL. */
export interface Generations {
  /** Makes sure that the partition's generation names the server that answers now. @throws AppError `unavailable` */
  open(partition: number): Promise<void>
  /** Makes sure that what these conversations are given next was never given before. @throws AppError `unavailable` */
  leap(partition: number, conversations: readonly string[]): Promise<void>
  /** The same for a conversation that has entries. @returns whether it has any @throws AppError `unavailable` */
  leapUsed(partition: number, conversation: string): Promise<boolean>
  /** Makes sure that Redis knows who is in a room. @throws AppError `unavailable`; `conversation_not_found` when it is no room any more */
  restoreMembers(conversation: string): Promise<void>
}

/** The ledger of one partition. Kept outside Redis. */
export interface Ledger {
  read(): Promise<LedgerRow | undefined>
  /**
   * Resolves when it is durable.
   * @param seen what the caller read
   * @returns false, with nothing written, when it is not so any more
   */
  write(seen: LedgerRow | undefined, row: LedgerRow): Promise<boolean>
}

/** A send that MySQL remembers, so that its repetition is known. */
export interface KnownSend {
  from: string
  clientId: string
  /** What the once-key holds; see `onceValue` in append-answers.ts. */
  value: string
  /** Milliseconds since it was sent. */
  ageMs: number
}

/** What MySQL knows of a conversation. */
export interface StoredFacts {
  seq: number
  n: number
  sends: readonly KnownSend[]
  /** It cannot have existed before the generation began: both people came later. */
  newer: boolean
}

export interface Seen {
  /** The record as it is written, '' for none. */
  record: string
  generation: Generation | undefined
  /** `master_replid` of the server that answered. */
  server: string
}

/** @throws AppError `unavailable` */
export async function readGeneration(redis: Redis, keys: Keys, partition: number): Promise<Seen> {
  try {
    const [record, server] = (await look.run(redis, [keys.generation(partition)], [])) as [string, string]
    return { record, generation: parseGeneration(record), server }
  } catch (error) {
    throw redisAway(error)
  }
}

/**
 * Opens a partition for appends by the server that answers now. Several may try at once: the ledger and the record are
 * both changed only as they were seen.
 * @returns what was found; `current` when there was nothing to do
 * @throws AppError `unavailable`
 */
export async function openGeneration(redis: Redis, keys: Keys, partition: number, ledger: Ledger): Promise<Opening> {
  for (let looks = 0; looks < LOOKS; looks++) {
    const { record, generation, server } = await readGeneration(redis, keys, partition)
    const row = await readLedger(ledger, generation?.server === server)
    if (row === 'away') return { kind: 'current', number: generation!.number }
    const opening = decideOpening(generation, server, row)
    if (opening.kind === 'current') return opening
    if (opening.kind === 'lost' && looks === 0) {
      // Somebody may be half-way through opening it: the ledger is written before the record.
      await delay(HALFWAY_MS)
      continue
    }
    // Before Redis learns of it: a number that Redis forgets again must not be given a second time.
    if (!(await ledger.write(row, { number: opening.number, closed: '' }))) continue
    const next = formatGeneration({ number: opening.number, server })
    const lost = opening.kind === 'lost' ? '1' : '0'
    if ((await run(redis, install, recordKeys(keys, partition), [record, next, server, lost])) === 1) return opening
  }
  throw changing()
}

/** @param trusted without the ledger the record counts: MySQL may be away while Redis is as it was */
async function readLedger(ledger: Ledger, trusted: boolean): Promise<LedgerRow | 'away' | undefined> {
  try {
    return await ledger.read()
  } catch (error) {
    if (trusted && error instanceof AppError && error.code === 'unavailable') return 'away'
    throw error
  }
}

/**
 * Marks a partition as closed in order, so that the next server loses nothing. To be called when nobody appends any
 * more; an append that comes all the same opens it again.
 * @param word unique to this stop
 * @throws AppError `unavailable`
 */
export async function closeGeneration(
  redis: Redis,
  keys: Keys,
  partition: number,
  ledger: Ledger,
  word: string,
): Promise<void> {
  const { record, generation, server } = await readGeneration(redis, keys, partition)
  const row = await ledger.read()
  const closing = decideClosing(generation, server, row, word)
  if (!closing || !(await ledger.write(row, closing))) return
  const closed = formatGeneration({ number: closing.number, server: closedAs(word) })
  await run(redis, install, recordKeys(keys, partition), [record, closed, server, '0'])
}

/**
 * Lets a conversation leap, unless it has in this generation.
 * @param storedAbove asks MySQL, told the head that Redis still knows
 * @returns what was skipped, undefined when nothing had to be
 * @throws AppError `unavailable`
 */
export async function leapConversation(
  redis: Redis,
  keys: Keys,
  conversation: string,
  storedAbove: (head: number) => Promise<StoredFacts>,
): Promise<Leap | undefined> {
  const partition = keys.partitionOf(conversation)
  for (let looks = 0; looks < LOOKS; looks++) {
    const { record, generation, server } = await readGeneration(redis, keys, partition)
    if (generation?.server !== server) throw changing()
    const { seen, ...known } = await readHead(redis, keys, conversation)
    const stored = await storedAbove(known.head)
    const facts = { ...known, stored: { seq: stored.seq, n: stored.n } }
    const nothingBefore = stored.newer && facts.head === 0 && facts.logTop === 0 && stored.seq === 0
    const plan = nothingBefore ? undefined : planLeap(facts, generation.number)
    const answer = await run(
      redis,
      leapScript,
      [
        keys.generation(partition),
        keys.leapt(partition),
        keys.messages(partition),
        keys.recent(partition),
        ...[keys.seq(conversation), keys.skip(conversation), keys.log(conversation)],
        ...stored.sends.map(({ from, clientId }) => keys.once(conversation, from, clientId)),
      ],
      [
        ...[record, seen, conversation, plan?.from ?? 0, plan?.to ?? 0, plan?.n ?? 0],
        ...stored.sends.flatMap(({ value, ageMs }) => [value, Math.max(1, ONCE_SECONDS - Math.ceil(ageMs / 1_000))]),
      ],
    )
    if (answer === 1) return plan
    if (answer === 2) return undefined
    if (answer !== 0) throw redisAway(new Error(String(answer)))
  }
  throw changing()
}

/** What Redis itself knows of a conversation's head. */
async function readHead(
  redis: Redis,
  keys: Keys,
  conversation: string,
): Promise<{ seen: string } & Omit<HeadFacts, 'stored'>> {
  try {
    const log = keys.log(conversation)
    const [seq, skip, newest, exists] = await Promise.all([
      redis.get(keys.seq(conversation)),
      redis.get(keys.skip(conversation)),
      redis.xrevrange(log, '+', '-', 'COUNT', 1),
      redis.exists(log),
    ])
    const entrySeq = newest[0] ? Number(newest[0][0].split('-')[0]) : 0
    const head = Math.max(Number(seq ?? 0), entrySeq)
    const logTop = exists === 1 ? await lastId(redis, log) : 0
    const n = Math.max(0, head - Number(skip ?? 0))
    return { seen: seq ?? '', head, n, logTop }
  } catch (error) {
    throw redisAway(error)
  }
}

/** The highest seq that was ever in a log, deleted ones included. */
async function lastId(redis: Redis, log: string): Promise<number> {
  const info = (await redis.xinfo('STREAM', log)) as unknown[]
  const id = String(info[info.indexOf('last-generated-id') + 1])
  return Number(id.split('-')[0])
}

const recordKeys = (keys: Keys, partition: number): string[] => [
  keys.generation(partition),
  keys.leapt(partition),
  ...GROUPS.map((group) => keys.fence(partition, group)),
]

async function run(
  redis: Redis,
  script: typeof install,
  names: readonly string[],
  args: readonly (string | number)[],
): Promise<unknown> {
  try {
    return await script.run(redis, names, args)
  } catch (error) {
    throw redisAway(error)
  }
}

const changing = (): AppError =>
  new AppError('unavailable', 'The message store is changing over. Try again shortly.', { retryAfter: 1 })
