/** One message, and what has become of it: stored or not, and whom it has reached. */
import { AppError, type Entry, type logicRpc, parseConversation, requirePossibleParty } from '@tidings/protocol'
import { timeOfId } from '@tidings/registry'
import { findEntry, type Store } from '@tidings/store'
import { findInStreams, foldStored, readMembersAt } from '@tidings/stream'
import type { Devices } from './devices.js'
import { toHistoryEntry } from './history.js'
import { userOf } from './input.js'
import { createLine, type Line } from './line.js'
import { type ReadDeps, readUpTo } from './reads.js'
import { floorOf, type MembershipDeps } from './rooms/membership.js'
import { type AskRouted, sumOf } from './routed.js'

const ID = /^[1-9]\d{0,18}$/
/** In larger rooms nobody is told who has read what. */
const MOST_TOLD = 100
/** People who are looked up at the same time. */
const AT_ONCE = 16

export type FindDeps = MembershipDeps & { store: Store; looks: Line }
export type MessageStateDeps = FindDeps & Omit<ReadDeps, 'reader'> & { devices: Devices; routed: AskRouted }

/** What MySQL does not have is looked for in all streams: anybody can make such an id up, and ask again and again. */
export const createLooks = (): Line =>
  createLine({
    atOnce: 4,
    inLine: 64,
    perUser: 16,
    waitMs: 1_000,
    refusal: 'Too many messages are looked for at once. Try again shortly.',
  })

const notFound = (): AppError => new AppError('message_not_found', 'There is no such message, or you may not read it.')

/** @throws AppError `message_not_found`, `invalid_request`, `overloaded`, `unavailable` when it is not found and a source is away */
export async function getMessage(
  deps: MessageStateDeps,
  request: logicRpc.GetMessageRequest,
): Promise<logicRpc.GetMessageResponse> {
  const user = userOf(request.user)
  const { entry, stored } = await requireMessage(deps, user, request.id)
  const shown = { entry: toHistoryEntry(entry), stored }
  if (user !== entry.from) return { ...shown, others: [], routed: undefined }
  const [others, routed] = await Promise.all([reached(deps, entry), deps.routed(entry.id)])
  return { ...shown, others, routed: sumOf(routed) }
}

/**
 * A message that somebody may read.
 * @throws AppError `message_not_found`, `overloaded`, `unavailable` when it is not found and a source is away
 */
export async function requireMessage(
  deps: FindDeps,
  user: string,
  id: string,
): Promise<{ entry: Entry; stored: boolean }> {
  const found = await findMessage(deps, user, id)
  await requireReader(deps, user, found.entry)
  return found
}

/**
 * @param user who looks for it, '' for an operator
 * @throws AppError `message_not_found`, `overloaded`, `unavailable` when it is not found and a source is away
 */
export async function findMessage(
  deps: FindDeps,
  user: string,
  id: string,
): Promise<{ entry: Entry; stored: boolean }> {
  const found = ID.test(id) ? await find(deps, user, id) : undefined
  if (!found) throw notFound()
  return found
}

/**
 * MySQL first: what it has, is stored. What it does not have, or cannot be asked for, may be on its way there; and what is not found on the way may
 * have arrived meanwhile.
 */
async function find(deps: FindDeps, user: string, id: string) {
  let away: AppError | undefined
  let row: Entry | undefined
  try {
    row = await findEntry(deps.store, id)
  } catch (error) {
    if (!(error instanceof AppError)) throw error
    away = error
  }
  if (row) return stored(deps, row)
  const entry = await deps.looks.run(user, () => findInStreams(deps.redis, deps.keys, id, timeOfId(id)))
  if (entry) return { entry, stored: false }
  if (away) throw away
  row = await findEntry(deps.store, id)
  return row && stored(deps, row)
}

const stored = async ({ redis, keys }: FindDeps, row: Entry) => ({
  entry: (await foldStored(redis, keys, [row]))[0]!,
  stored: true,
})

/** @throws AppError `message_not_found`, `unavailable` */
async function requireReader(deps: FindDeps, user: string, { conversation, seq }: Entry): Promise<void> {
  try {
    if (seq <= (await floorOf(deps, user, requirePossibleParty(conversation, user)))) throw notFound()
  } catch (error) {
    if (error instanceof AppError && error.code === 'conversation_not_found') throw notFound()
    throw error
  }
}

async function reached(deps: MessageStateDeps, entry: Entry): Promise<logicRpc.Reached[]> {
  const { users } = await peopleOf(deps, entry)
  const others = users.filter((user) => user !== entry.from)
  const told: logicRpc.Reached[] = []
  for (let at = 0; at < others.length; at += AT_ONCE) {
    told.push(...(await Promise.all(others.slice(at, at + AT_ONCE).map((other) => reachedOne(deps, other, entry)))))
  }
  return told
}

/** Whom an entry is for, its sender included; of a room, as many as are told who has read what. @throws AppError `unavailable` */
export async function peopleOf(
  { redis, keys }: MessageStateDeps,
  { conversation, seq }: Entry,
): Promise<{ users: string[]; all: boolean }> {
  const parsed = parseConversation(conversation)
  if (parsed?.kind === 'room') {
    // Whoever came later begins behind it, and has been told nothing of it.
    const members = await readMembersAt(redis, keys, conversation, seq, MOST_TOLD)
    return { users: [...(members ?? [])].sort(), all: members !== undefined }
  }
  if (parsed?.kind === 'dm') return { users: [...new Set(parsed.users)], all: true }
  return parsed?.kind === 'feed' && parsed.user !== '*'
    ? { users: [parsed.user], all: true }
    : { users: [], all: false }
}

async function reachedOne(
  deps: MessageStateDeps,
  user: string,
  { conversation, seq }: Entry,
): Promise<logicRpc.Reached> {
  const [[delivered = 0], [position]] = await Promise.all([
    deps.devices.delivered(user, [conversation]),
    readUpTo(deps, user, [conversation]),
  ])
  const read = position !== undefined && position.seq >= seq
  return { user, delivered: read || delivered >= seq, read }
}
