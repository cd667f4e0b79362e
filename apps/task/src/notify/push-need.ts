/** Which of the pushes that are due somebody still needs, and what they may show by now: all of it is looked up as late as can be. */
import { type Entry, isExpired, isRoom } from '@tidings/protocol'
import { type ClaimedPush, findEntries, readEntries, type Store } from '@tidings/store'
import { foldStored, type Keys, type Redis, readMemberships, readPositions } from '@tidings/stream'
import { isForPeople, previewOf } from './pushable.js'

/** Entries in which a message is looked for that counts, where the newest was taken back. */
const LOOK_BACK = 100

export interface PushNeed {
  /**
   * @returns for each the push as it may be sent now, undefined for what nobody needs
   * @throws AppError `unavailable`
   */
  of(pushes: readonly ClaimedPush[]): Promise<(ClaimedPush | undefined)[]>
}

export function createPushNeed({ store, redis, keys }: { store: Store; redis: Redis; keys: Keys }): PushNeed {
  /** Whoever has left a room in the meantime is told nothing of it. */
  async function mayRead({ user, conversation, seq }: ClaimedPush): Promise<boolean> {
    if (!isRoom(conversation)) return true
    const [membership] = await readMemberships(redis, keys, user, [conversation])
    return typeof membership === 'object' && seq > membership.floor
  }

  /** @param position up to where the device has it, or its person has read it */
  async function asItIs(
    push: ClaimedPush,
    stored: Entry | undefined,
    position: number,
  ): Promise<ClaimedPush | undefined> {
    const noted = stored ?? asNoted(push)
    const [entry = noted] = await foldStored(redis, keys, [noted])
    if (isForPeople(entry)) {
      const isEdited = entry.extra?.startsWith('"editedAt":')
      return isEdited && push.preview !== '' ? { ...push, preview: previewOf(entry) } : push
    }
    // What has taken its place is there to be read, and so may be what came before it.
    const isNeeded = entry.type === 'collapsed' || (await hasEarlier(push, position))
    return isNeeded ? { ...push, preview: '' } : undefined
  }

  /** Is there a message that counts among those that came while the push was not sent, below the one that was taken back? */
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

/** An entry that MySQL does not have yet, to ask Redis what was made of it: nothing else of it counts. */
const asNoted = ({ id, conversation, seq, from, createdAt }: ClaimedPush): Entry => ({
  ...{ id, conversation, seq, n: 0, from, type: 'text', content: '{}', clientId: '', trace: '' },
  sentAt: createdAt.getTime(),
})
