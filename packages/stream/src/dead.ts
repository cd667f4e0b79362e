/** Dead letters, for an operator: looked at, put back, or dropped. settle.ts writes them. */
import { AppError } from '@tidings/protocol'
import type { Group, Keys } from './keys.js'
import { type Redis, redisAway } from './redis.js'
import { loadScript, scriptFile } from './script.js'

const script = loadScript(scriptFile('retry.lua', import.meta.url))

/** Letters of a group over all partitions, at which it pauses instead of setting another entry aside. */
const MAX_LETTERS = 100_000

/** What settle.lua adds behind the fields of an entry: three names, each with its value. */
const ADDED = ['reason', 'deliveries', 'entry'] as const

/** Which letter: ids are unique within one dead stream only. */
export interface LetterPlace {
  group: Group
  partition: number
  /** Its id in the dead stream; the part before the `-` is when it was set aside, in ms since 1970. */
  id: string
}

export interface Letter extends LetterPlace {
  /** The entry's fields as they were found, name and value in turn. */
  fields: readonly string[]
  /** Why it was given up. */
  reason: string
  /** How often it was tried. */
  deliveries: number
  /** The id that the entry had in its partition's stream. */
  entry: string
}

/**
 * A page of a dead stream, oldest first.
 * @param page after: the id of the last letter of the page before; upTo: the last id that is wanted
 * @throws when Redis is away
 */
export async function readLetters(
  redis: Redis,
  keys: Keys,
  from: { group: Group; partition: number },
  page: { after?: string | undefined; upTo?: string; limit: number },
): Promise<Letter[]> {
  const start = page.after === undefined ? '-' : `(${page.after}`
  const key = keys.dead(from.partition, from.group)
  const rows = await redis.xrange(key, start, page.upTo ?? '+', 'COUNT', page.limit)
  return rows.map(([id, fields]) => {
    const own = fields.slice(0, Math.max(0, fields.length - 2 * ADDED.length))
    const [reason = '', deliveries = '', entry = ''] = ADDED.map((_, i) => fields[own.length + 2 * i + 1])
    return { ...from, id, fields: own, reason, deliveries: Number(deliveries), entry }
  })
}

/** @returns the value of a field that the entry was written with */
export function fieldOf({ fields }: Pick<Letter, 'fields'>, name: string): string | undefined {
  const at = fields.findIndex((each, i) => i % 2 === 0 && each === name)
  return at === -1 ? undefined : fields[at + 1]
}

/** The id of the newest letter of a dead stream, undefined when it has none. @throws when Redis is away */
export async function lastLetter(
  redis: Redis,
  keys: Keys,
  from: { group: Group; partition: number },
): Promise<string | undefined> {
  return (await redis.xrevrange(keys.dead(from.partition, from.group), '+', '-', 'COUNT', 1))[0]?.[0]
}

/**
 * Puts the entry back at the end of its partition's stream, as it was found, and takes the letter away, in one atomic step. All groups
 * see it again; they are idempotent. What fails again becomes a new letter.
 * @returns the entry's new stream id, undefined when the letter is gone
 * @throws when Redis is away or full, or when the letter is not one that settle.lua wrote: then nothing was done
 */
export async function retryLetter(
  redis: Redis,
  keys: Keys,
  { group, partition, id }: LetterPlace,
): Promise<string | undefined> {
  const reply = await script.run(redis, [keys.dead(partition, group), keys.messages(partition)], [id, ...ADDED])
  return reply === null ? undefined : String(reply)
}

/**
 * Removes a letter for good. The tombstone that stands in the entry's place stays, and readers are told `void`.
 * @returns false when it is gone already
 * @throws when Redis is away
 */
export async function dropLetter(redis: Redis, keys: Keys, { group, partition, id }: LetterPlace): Promise<boolean> {
  return (await redis.xdel(keys.dead(partition, group), id)) === 1
}

/**
 * Dead letters are never trimmed, so their number has a bound: the share of a partition in a group's letters.
 * @throws AppError `unavailable` when the partition has its share, or Redis is away: the group pauses until an operator has acted
 */
export async function requireCapacity(redis: Redis, keys: Keys, group: Group, partition: number): Promise<void> {
  const most = Math.ceil(MAX_LETTERS / keys.partitions)
  let count: number
  try {
    count = await redis.xlen(keys.dead(partition, group))
  } catch (error) {
    throw redisAway(error)
  }
  if (count < most) return
  throw new AppError(
    'unavailable',
    `${group} has ${count} dead letters in partition ${partition} and sets no more aside: npm run dead -- list`,
  )
}
