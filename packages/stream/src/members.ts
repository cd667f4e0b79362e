/**
 * Who is in a room, as Redis knows it: a hash beside the room's log, changed by the append of the entry that tells of the change, and
 * asked by every append of a member. So who may write, and whom a removal shuts out, is decided by the order of the log itself. MySQL
 * holds the same, written first; the hash is put back from there when Redis lost it.
 *
 * The field `*` holds `<generation> <version> <history>`: the generation of the partition in which the hash was written (one from
 * before a loss may lack a change, and counts as lost), the version of the room, and whether later members read what was before them.
 */
import { AppError } from '@tidings/protocol'
import { parseGeneration } from './generation.js'
import type { Keys } from './keys.js'
import { type Redis, redisAway, together } from './redis.js'
import { loadScript, scriptFile } from './script.js'

const installScript = loadScript(scriptFile('members.lua', import.meta.url))

/** Fields in one call. */
const CHUNK = 5_000

export type RoomHistory = 'all' | 'joined'

/** What an entry changes of its room's members. A name stands in one of the lists only. */
export interface MemberChange {
  /** Of the room, after the change. */
  version: number
  history: RoomHistory
  /** In the room from this entry on. */
  joined: readonly { user: string; mutedUntil: number }[]
  /** In the room before and after it; `mutedUntil` in milliseconds since 1970, 0 for none. */
  muted: readonly { user: string; mutedUntil: number }[]
  /** Not in the room after it. */
  left: readonly string[]
  /** Nobody is in the room after it. */
  ended?: boolean
}

/** What an append asks of a room's members, or changes of them. */
export type MemberRule = 'check' | 'known' | MemberChange

/** The argument of append.lua: words apart by blanks. User ids hold neither blanks nor colons. */
export function memberRule(members: MemberRule | undefined): string {
  if (members === undefined) return ''
  if (typeof members === 'string') return members
  const { version, history, joined, muted, left, ended } = members
  if (ended) return `${version} ended`
  return [
    `${version} ${history}`,
    ...joined.map(({ user, mutedUntil }) => `+${user}:${mutedUntil}`),
    ...muted.map(({ user, mutedUntil }) => `~${user}:${mutedUntil}`),
    ...left.map((user) => `-${user}`),
  ].join(' ')
}

/** Where a user stands in a room. */
export interface Membership {
  /** The seq of the entry that let the user in. */
  joined: number
  /** The user may read what is above it. */
  floor: number
  /** Milliseconds since 1970; 0: not muted. */
  mutedUntil: number
}

/** `unknown`: Redis has lost who is in the room, or never knew; it must be put back, see `installMembers`. */
export type KnownMembership = Membership | 'none' | 'unknown'

/** One user in many rooms, in one round trip. @throws AppError `unavailable` */
export async function readMemberships(
  redis: Redis,
  keys: Keys,
  user: string,
  conversations: readonly string[],
): Promise<KnownMembership[]> {
  const partitions = [...new Set(conversations.map((one) => keys.partitionOf(one)))]
  try {
    const [hashes, records] = await together(redis, () =>
      Promise.all([
        Promise.all(conversations.map((one) => redis.hmget(keys.members(one), '*', user))),
        Promise.all(partitions.map((partition) => redis.get(keys.generation(partition)))),
      ]),
    )
    const generations = new Map(partitions.map((partition, i) => [partition, generationNumber(records[i])]))
    return conversations.map((one, i) => toMembership(hashes[i]!, generations.get(keys.partitionOf(one))))
  } catch (error) {
    throw redisAway(error)
  }
}

const generationNumber = (record: string | null | undefined): number | undefined =>
  parseGeneration(record ?? '')?.number

function toMembership([about, mine]: (string | null)[], current: number | undefined): KnownMembership {
  const [generation, , history] = (about ?? '').split(' ')
  if (!about || current === undefined || Number(generation) !== current) return 'unknown'
  if (!mine) return 'none'
  const [joined, mutedUntil] = mine.split(':').map(Number) as [number, number]
  // The entry that lets the user in is not in the log yet.
  if (joined === 0) return 'none'
  return { joined, floor: history === 'all' ? 0 : joined - 1, mutedUntil }
}

/**
 * Those of a small room's members who were in it when an entry came.
 * @returns undefined when there are more than `most`, or Redis does not know @throws AppError `unavailable`
 */
export async function readMembersAt(
  redis: Redis,
  keys: Keys,
  conversation: string,
  seq: number,
  most: number,
): Promise<string[] | undefined> {
  if (!(await areFew(redis, keys, conversation, most))) return undefined
  try {
    const all = Object.entries(await redis.hgetall(keys.members(conversation)))
    return all
      .filter(([user, mine]) => user !== '*' && joinedOf(mine) > 0 && joinedOf(mine) <= seq)
      .map(([user]) => user)
  } catch (error) {
    throw redisAway(error)
  }
}

const joinedOf = (mine: string): number => Number(mine.split(':')[0])

/** All of a room's members when they are few. @returns undefined when there are more than `most`, or Redis does not know */
export async function readMembers(
  redis: Redis,
  keys: Keys,
  conversation: string,
  most: number,
): Promise<string[] | undefined> {
  if (!(await areFew(redis, keys, conversation, most))) return undefined
  try {
    return (await redis.hkeys(keys.members(conversation))).filter((user) => user !== '*')
  } catch (error) {
    throw redisAway(error)
  }
}

async function areFew(redis: Redis, keys: Keys, conversation: string, most: number): Promise<boolean> {
  const key = keys.members(conversation)
  try {
    const [about, size, record] = await together(redis, () =>
      Promise.all([redis.hget(key, '*'), redis.hlen(key), redis.get(keys.generation(keys.partitionOf(conversation)))]),
    )
    return about !== null && Number(about.split(' ')[0]) === generationNumber(record) && size <= most + 1
  } catch (error) {
    throw redisAway(error)
  }
}

/** What MySQL knows of a room. */
export interface RoomMembers {
  version: number
  history: RoomHistory
  /** `joined` is 0 while the entry that lets the user in is not in the log yet. */
  members: readonly { user: string; joined: number; mutedUntil: number }[]
}

/**
 * Puts back who is in a room. What Redis knows by the time it is done stays: an append may have changed it.
 * @param read what MySQL knows, asked after the generation was read, so that it knows all that this generation was told
 * @throws AppError `unavailable`, and what `read` throws
 */
export async function installMembers(
  redis: Redis,
  keys: Keys,
  conversation: string,
  read: () => Promise<RoomMembers>,
): Promise<void> {
  try {
    const generationKey = keys.generation(keys.partitionOf(conversation))
    const record = (await redis.get(generationKey)) ?? ''
    const number = generationNumber(record)
    if (number === undefined) throw new Error('the partition is not open')
    const { version, history, members } = await read()
    const fresh = `${keys.members(conversation)}:${crypto.randomUUID()}`
    await redis.multi().hset(fresh, '*', `${number} ${version} ${history}`).expire(fresh, FRESH_SECONDS).exec()
    for (let at = 0; at < members.length; at += CHUNK) {
      const fields = members
        .slice(at, at + CHUNK)
        .flatMap(({ user, joined, mutedUntil }) => [user, `${joined}:${mutedUntil}`])
      await redis.hset(fresh, ...fields)
    }
    await installScript.run(redis, [keys.members(conversation), fresh, generationKey], [record, number])
  } catch (error) {
    // What `read` says of the room is the caller's to know.
    throw error instanceof AppError ? error : redisAway(error)
  }
}

/** For how long a half-made hash stays when its maker dies. */
const FRESH_SECONDS = 60
