/** Puts back into Redis who is in a room, from MySQL. */
import { AppError, parseConversation } from '@tidings/protocol'
import { findRoom, type MemberRow, membersAfter, type Store } from '@tidings/store'
import { installMembers, type Keys, type Redis, type RoomHistory, type RoomMembers } from '@tidings/stream'

/** Members in one look into MySQL. */
const PAGE = 5_000

export const notInConversation = (): AppError =>
  new AppError('conversation_not_found', 'There is no such conversation, or you are not in it.')

/**
 * The partition must be open.
 * @param endedToo an ended room is put back as one that nobody is in, so that the entry of its end can be appended
 * @throws AppError `conversation_not_found` when it is no room; `unavailable`
 */
export async function restoreMembersOf(
  { redis, keys, store }: { redis: Redis; keys: Keys; store: Store },
  conversation: string,
  endedToo = false,
): Promise<void> {
  const parsed = parseConversation(conversation)
  if (parsed?.kind !== 'room') throw notInConversation()
  await installMembers(redis, keys, conversation, () => readRoom(store, parsed.room, endedToo))
}

async function readRoom(store: Store, id: string, endedToo: boolean): Promise<RoomMembers> {
  // The room before its members: what is changed in between is told by an entry that is still to come.
  const room = await findRoom(store, id)
  if (!room && !endedToo) throw notInConversation()
  if (!room) return { version: 0, history: 'joined', members: [] }
  const members: RoomMembers['members'][number][] = []
  for (let page: MemberRow[] = [], after = ''; ; after = page.at(-1)!.user) {
    page = await membersAfter(store, id, after, PAGE)
    for (const { user, joinedSeq, mutedUntil } of page) members.push({ user, joined: joinedSeq, mutedUntil })
    if (page.length < PAGE) break
  }
  return { version: room.version, history: room.history as RoomHistory, members }
}
