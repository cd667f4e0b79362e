/** Where a user stands in rooms, as Redis knows it; what Redis has lost is put back from MySQL first. */
import { AppError, type Conversation, parseConversation } from '@tidings/protocol'
import { type Generations, type Keys, type Membership, type Redis, readMemberships } from '@tidings/stream'
import type { Broadcasts } from '../broadcasts.js'
import { notInConversation } from './restore-members.js'

/** Rooms whose members are put back at the same time. */
const RESTORED_AT_ONCE = 8
/** Redis may lose it again in between. */
const LOOKS = 3

export interface MembershipDeps {
  redis: Redis
  keys: Keys
  generations: Pick<Generations, 'restoreMembers'>
  broadcasts: Pick<Broadcasts, 'startOf'>
}

/** In no other room is the user; conversations that are no rooms are passed over. @throws AppError `unavailable` */
export async function membershipsOf(
  deps: MembershipDeps,
  user: string,
  conversations: readonly string[],
): Promise<Map<string, Membership>> {
  const found = new Map<string, Membership>()
  let open = [...new Set(conversations)].filter((one) => parseConversation(one)?.kind === 'room')
  for (let looks = 0; open.length > 0; looks++) {
    if (looks === LOOKS) throw new AppError('unavailable', 'Who is in a room cannot be told now.', { retryAfter: 1 })
    const known = await readMemberships(deps.redis, deps.keys, user, open)
    const unknown: string[] = []
    for (const [i, conversation] of open.entries()) {
      const one = known[i]!
      if (one === 'unknown') unknown.push(conversation)
      else if (one !== 'none') found.set(conversation, one)
    }
    open = await restoreAll(deps, unknown)
  }
  return found
}

/** @returns those that are rooms still */
async function restoreAll({ generations }: MembershipDeps, conversations: readonly string[]): Promise<string[]> {
  const rooms: string[] = []
  async function restore(conversation: string): Promise<void> {
    try {
      await generations.restoreMembers(conversation)
      rooms.push(conversation)
    } catch (error) {
      if (!(error instanceof AppError) || error.code !== 'conversation_not_found') throw error
    }
  }
  for (let at = 0; at < conversations.length; at += RESTORED_AT_ONCE) {
    await Promise.all(conversations.slice(at, at + RESTORED_AT_ONCE).map(restore))
  }
  return rooms
}

/** A user's place in one room. @throws AppError `conversation_not_found`, `unavailable` */
export async function requireMember(deps: MembershipDeps, user: string, conversation: string): Promise<Membership> {
  const one = (await membershipsOf(deps, user, [conversation])).get(conversation)
  if (!one) throw notInConversation()
  return one
}

/**
 * The seq above which a user may read: 0 outside of rooms, and of what is pushed to everyone.
 * @throws AppError `conversation_not_found`, `unavailable`
 */
export async function floorOf(deps: MembershipDeps, user: string, { kind, id }: Conversation): Promise<number> {
  if (kind === 'everyone') return deps.broadcasts.startOf(user)
  return kind === 'room' ? (await requireMember(deps, user, id)).floor : 0
}
