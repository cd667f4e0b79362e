/** Which of the pushes that are due somebody still needs, and what they may show by now: all of it is looked up as late as can be. */
import { type Entry, expiryOf, isExpired, parseConversation } from '@tidings/protocol'
import { type ClaimedPush, findEntries, findMember, findRoom, readEntries, type Store } from '@tidings/store'
import { createLogReader, foldStored, type Keys, type Redis, readMemberships, readPositions } from '@tidings/stream'
import { isForPeople, previewOf } from './pushable.js'

/** Entries in which a message is looked for that counts, where the newest was taken back or has expired. */
const LOOK_BACK = 100

export interface PushNeed {
  /**
   * @returns for each the push as it may be sent now, undefined for what nobody needs
   * @throws AppError `unavailable`
   */
  of(pushes: readonly ClaimedPush[]): Promise<(ClaimedPush | undefined)[]>
}

export function createPushNeed({ store, redis, keys }: { store: Store; redis: Redis; keys: Keys }): PushNeed {
  const log = createLogReader(redis, keys)

  /** Whoever has left a room in the meantime is told nothing of it. */
  async function mayRead({ user, conversation, seq }: ClaimedPush): Promise<boolean> {
    const parsed = parseConversation(conversation)
    if (parsed?.kind !== 'room') return true
    const [membership] = await readMemberships(redis, keys, user, [conversation])
    if (membership === 'unknown') return mayReadByRow(parsed.room, user, seq)
    return typeof membership === 'object' && seq > membership.floor
  }

  /** Redis has lost who is in the room: MySQL has the same, written before. */
  async function mayReadByRow(id: string, user: string, seq: number): Promise<boolean> {
    const [room, member] = await Promise.all([findRoom(store, id), findMember(store, id, user)])
    if (!room || !member || member.joinedSeq === 0) return false
    return room.history === 'all' || seq >= member.joinedSeq
  }

  /** @param position up to where the device has it, or its person has read it */
  async function asItIs(
    push: ClaimedPush,
    stored: Entry | undefined,
    position: number,
  ): Promise<ClaimedPush | undefined> {
    const [entry] = stored ? await foldStored(redis, keys, [stored]) : await fromLog(push)
    // Nobody knows it any more: what was noted is all there is.
    if (!entry) return push
    if (isForPeople(entry) && !isExpired(entry, Date.now())) {
      const isEdited = entry.extra?.startsWith('"editedAt":')
      const preview = isEdited && push.preview !== '' ? previewOf(entry) : push.preview
      return { ...push, preview, expiresAt: expiryOf(entry) ?? null }
    }
    // What has taken its place is there to be read, and so may be what came before it.
    const isNeeded = entry.type === 'collapsed' || (await hasEarlier(push, position))
    return isNeeded ? { ...push, preview: '' } : undefined
  }

  /** What MySQL does not have yet. */
  const fromLog = ({ conversation, seq }: ClaimedPush): Promise<Entry[]> => log.after(conversation, seq - 1, 1, seq)

  /** Is there a message that counts among those that came while the push was not sent, below one that was taken back or has expired? */
  async function hasEarlier({ user, conversation, seq, createdAt }: ClaimedPush, position: number): Promise<boolean> {
    const rows = await readEntries(store, conversation, { before: seq, limit: LOOK_BACK })
    const entries = await foldStored(
      redis,
      keys,
      rows.map(({ entry }) => entry).filter((entry) => entry.seq > position && entry.sentAt >= createdAt.getTime()),
    )
    const now = Date.now()
    return entries.some((entry) => isForPeople(entry) && entry.from !== user && !isExpired(entry, now))
  }

  return {
    async of(pushes) {
      const positions = (await readPositions(redis, keys, pushes)).map(({ acknowledged, read }) =>
        Math.max(acknowledged, read),
      )
      const now = Date.now()
      const mayNeed = pushes.map(
        ({ seq, subscription, muted, expiresAt }, i) =>
          subscription !== undefined && !muted && (expiresAt ?? Number.POSITIVE_INFINITY) > now && positions[i]! < seq,
      )
      const ids = pushes.filter((_, i) => mayNeed[i]).map(({ id }) => id)
      const stored = new Map((await findEntries(store, ids)).map((entry) => [entry.id, entry]))
      return Promise.all(
        pushes.map(async (push, i) =>
          mayNeed[i] && (await mayRead(push)) ? await asItIs(push, stored.get(push.id), positions[i]!) : undefined,
        ),
      )
    },
  }
}
