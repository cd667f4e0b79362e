/** All that is known of one message, for operators: where it is, who works on it, and what each device of each person has of it. */
import { AppError, type Entry, type logicRpc } from '@tidings/protocol'
import { timeOfId } from '@tidings/registry'
import type { Logger } from '@tidings/service'
import { cursorMoves, readMovedAt } from '@tidings/store'
import { findStreamId, GROUPS, isSettled, type LogReader } from '@tidings/stream'
import { toHistoryEntry } from './history.js'
import type { LiveSession, LiveSessions } from './live-sessions.js'
import { findMessage, type MessageStateDeps, peopleOf } from './message-state.js'
import { readUpTo } from './reads.js'
import { orAway, replies } from './replies.js'

/** People who are looked up at the same time, and devices of each. */
const AT_ONCE = 16
const MOST_DEVICES = 50
/** A stream entry lies at most this much behind the moment when its id was made, see find.ts. */
const APPENDED_WITHIN_MS = 30_000

export type MessageTraceDeps = MessageStateDeps & { reader: LogReader; live: Pick<LiveSessions, 'of'>; log: Logger }

/** @throws AppError `message_not_found`, `overloaded`, `unavailable` */
export async function inspectMessage(
  deps: MessageTraceDeps,
  request: logicRpc.InspectMessageRequest,
): Promise<logicRpc.InspectMessageResponse> {
  const { entry, stored } = await findMessage(deps, '', request.id)
  const { redis, keys, reader } = deps
  const { conversation, seq, id } = entry
  const partition = keys.partitionOf(conversation)
  const [streamId, [newest], people, routed] = await Promise.all([
    findStreamId(redis, keys, partition, id, timeOfId(id)),
    reader.before(conversation, seq + 1, 1),
    peopleOf(deps, entry),
    deps.routed(id),
  ])
  // What was trimmed is placed by its time: then it takes longer until it is surely settled.
  const place = { streamId: streamId ?? `${timeOfId(id) + APPENDED_WITHIN_MS}-0`, exact: streamId !== undefined }
  const settled = await orAway(Promise.all(GROUPS.map((group) => isSettled(redis, keys, { group, partition }, place))))
  const live = await liveOf(deps, people.users)
  const recipients: logicRpc.Recipient[] = []
  for (let at = 0; at < people.users.length; at += AT_ONCE) {
    const some = people.users.slice(at, at + AT_ONCE)
    recipients.push(...(await Promise.all(some.map((user) => recipientOf(deps, entry, user, live?.get(user) ?? [])))))
  }
  return {
    entry: toHistoryEntry(entry),
    partition,
    streamId: streamId ?? '',
    logged: newest?.seq === seq,
    stored,
    settledBy: GROUPS.filter((_, i) => settled[i]),
    people: recipients,
    allPeople: people.all,
    nodesKnown: live !== undefined,
    routed: routed.nodes,
    forgotten: routed.forgotten,
    unanswered: routed.unanswered,
  }
}

/** @returns undefined when etcd does not answer: all else is worth telling */
async function liveOf(
  { live, log }: MessageTraceDeps,
  users: readonly string[],
): Promise<Map<string, LiveSession[]> | undefined> {
  try {
    return new Map(await Promise.all(users.map(async (user) => [user, await live.of(user)] as const)))
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== 'unavailable') throw error
    log.debug({ err: error.cause }, 'etcd was not asked where a message could be shown')
    return undefined
  }
}

async function recipientOf(
  deps: MessageTraceDeps,
  { conversation, seq }: Entry,
  user: string,
  live: readonly LiveSession[],
): Promise<logicRpc.Recipient> {
  const { redis, keys, store } = deps
  const names = (await orAway(redis.hkeys(keys.devices(user)))).sort().slice(0, MOST_DEVICES)
  const pipeline = redis.pipeline()
  for (const device of names) pipeline.hget(keys.cursor(user, device), conversation)
  const [cursors, moves, [position], readAt] = await Promise.all([
    replies(pipeline) as Promise<(string | null)[]>,
    cursorMoves(store, user, names, conversation),
    readUpTo(deps, user, [conversation]),
    readMovedAt(store, user, conversation),
  ])
  const read = position !== undefined && position.seq >= seq
  const devices = names.map((device, i) => {
    const cursor = Number(cursors[i] ?? 0)
    const movedAt = moves.get(device)?.getTime() ?? 0
    const node = live.find((one) => one.device === device)?.node ?? ''
    return { device, cursor, acknowledged: cursor >= seq, movedAt, node }
  })
  return { user, read, readAt: read ? (readAt?.getTime() ?? 0) : 0, devices }
}
