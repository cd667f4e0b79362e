/**
 * What rooms need when nobody calls: those whose time is over end, those whose owner's account is gone get another, changes that their
 * process left half-way reach their logs, and what has arrived is taken out of the outbox. Every logic process does it; doing it twice
 * changes nothing.
 */
import { AppError, parseConversation } from '@tidings/protocol'
import { type Logger, pause, type Stoppable } from '@tidings/service'
import {
  changeRoom,
  type DeletedUser,
  deletedUsers,
  forgetOutbox,
  membersAfter,
  orphanedRooms,
  outboxOverdue,
  outboxStored,
  outboxWaiting,
  removeEndedMembers,
  roomsToEnd,
  type Store,
} from '@tidings/store'
import type { Keys, MemberChange, Redis } from '@tidings/stream'
import type { Outbox } from '../outbox.js'
import { orAway } from '../replies.js'
import { toWrite } from './events.js'
import { planHandOver } from './rules.js'

const EVERY_MS = 1_000
/** Younger rows are in the hands of the process that made them. */
const PENDING_MS = 2_000
/** Persist stores well before. Redis may have forgotten what it has not. */
const APPENDED_MS = 5_000
/** The first sweep looks back this far for owners who are gone: no set-up is without logic for so long. */
const ORPHANED_MS = 24 * 3_600_000
/** Clocks of hosts differ, and a deletion commits later than it says. */
const OVERLAP_MS = 60_000
/** Owners who are gone that are looked at in one sweep. */
const GONE = 200
/** In one sweep: rooms that end or get another owner, rows that are forgotten, pages of rows that are looked at, members of ended rooms that are taken off. */
const ENDED = 100
const FORGOTTEN = 1_000
const PAGES = 5
const MEMBERS = 20_000
const MEMBERS_AT_ONCE = 1_000
const DRAINED_AT_ONCE = 8

export interface SweeperDeps {
  store: Store
  redis: Redis
  keys: Keys
  outbox: Outbox
  log: Logger
}

export interface RoomSweeper extends Stoppable {
  /** Changes that were on their way into their logs at the last sweep. */
  readonly waiting: number
}

/** Sweeps now and again and again. @param everyMs pause between two sweeps */
export function startRoomSweeper(deps: SweeperDeps, everyMs = EVERY_MS): RoomSweeper {
  const { store, outbox, log } = deps
  const stopper = new AbortController()
  let after = 0
  /** Up to where the owners who are gone were looked at. */
  let gone: DeletedUser = { deletedAt: new Date(Date.now() - ORPHANED_MS), id: '' }
  let waiting = 0

  async function sweep(): Promise<void> {
    await attempt('rooms whose time is over', async () => {
      for (const room of await roomsToEnd(store, new Date(), ENDED)) {
        await attempt(room, () => endRoom(store, room))
      }
    })
    await attempt('rooms whose owner is gone', handOverOrphans)
    await attempt('changes that are stored', () => forget(deps))
    await attempt('changes that wait', drainOverdue)
  }

  /** What fails for one does not hold up the others; the next sweep tries it again. @returns whether it is done */
  async function attempt(what: string, work: () => Promise<void>): Promise<boolean> {
    if (stopper.signal.aborted) return false
    try {
      await work()
      return true
    } catch (error) {
      // Away is said by the stores themselves.
      if (error instanceof AppError) log.debug({ err: error, what }, 'looking after the rooms failed')
      else log.error({ err: error, what }, 'looking after the rooms failed')
      return false
    }
  }

  async function handOverOrphans(): Promise<void> {
    const overlap = new Date(Date.now() - OVERLAP_MS)
    const page = await deletedUsers(store, gone, GONE)
    const owners = page.map(({ id }) => id)
    const orphans = await orphanedRooms(store, owners, ENDED)
    let left = orphans.length
    for (const { id, owner } of orphans) if (await attempt(id, () => handOver(store, id, owner))) left--
    // These have more of them, or one that failed.
    if (left > 0 || orphans.length === ENDED) return
    if (page.length === GONE) gone = page.at(-1)!
    else if (overlap > gone.deletedAt) gone = { deletedAt: overlap, id: '' }
  }

  async function drainOverdue(): Promise<void> {
    waiting = await outboxWaiting(store)
    for (let page = 0; page < PAGES && !stopper.signal.aborted; page++) {
      const now = Date.now()
      const since = { pendingSince: new Date(now - PENDING_MS), appendedSince: new Date(now - APPENDED_MS) }
      const overdue = await outboxOverdue(store, { ...since, after })
      after = overdue?.last ?? 0
      if (!overdue) return
      await drainAll(overdue.conversations)
    }
  }

  async function drainAll(conversations: readonly string[]): Promise<void> {
    for (let at = 0; at < conversations.length; at += DRAINED_AT_ONCE) {
      const some = conversations.slice(at, at + DRAINED_AT_ONCE)
      await Promise.all(some.map((conversation) => attempt(conversation, () => outbox.drainAll(conversation))))
    }
  }

  async function run(): Promise<void> {
    while (!stopper.signal.aborted) {
      await sweep()
      await pause(everyMs, stopper.signal)
    }
  }

  const running = run()
  return {
    get waiting() {
      return waiting
    },
    async stop() {
      stopper.abort()
      await running
    },
  }
}

/** Its time is over, unless somebody else was first. */
async function endRoom(store: Store, id: string): Promise<void> {
  await changeRoom(store, id, async (held) => {
    const now = new Date()
    const { row } = held
    if (!row.endsAt || row.endsAt > now) return
    const by = (await held.owner()) ?? row.createdBy
    await held.write(toWrite({ change: 'deleted', ended: true }, row, by, now))
  })
  // What it wrote is found as every row that nobody works on.
}

/** To whoever would follow if the owner left, unless somebody else was first. */
async function handOver(store: Store, id: string, gone: string): Promise<void> {
  await changeRoom(store, id, async (held) => {
    if ((await held.owner()) !== gone) return
    const successor = await held.successor(gone)
    const [person] = successor ? await held.people([successor.user]) : []
    if (!successor || !person?.active) return
    await held.write(toWrite(planHandOver(gone, successor), held.row, gone, new Date()))
  })
  // As the end of a room: it is told by whoever finds the row.
}

/** Takes out of the outbox what is stored; the end of a room only when nobody is listed in it any more. */
async function forget({ store, redis, keys }: SweeperDeps): Promise<void> {
  const done: number[] = []
  for (const { id, conversation, change } of await outboxStored(store, FORGOTTEN)) {
    const { ended } = JSON.parse(change) as MemberChange
    if (!ended || (await removeAll(conversation))) done.push(id)
  }
  await forgetOutbox(store, done)

  async function removeAll(conversation: string): Promise<boolean> {
    const parsed = parseConversation(conversation)
    if (parsed?.kind !== 'room') return true
    for (let removed = 0; removed < MEMBERS; removed += MEMBERS_AT_ONCE) {
      const users = (await membersAfter(store, parsed.room, '', MEMBERS_AT_ONCE)).map(({ user }) => user)
      if (users.length === 0) return true
      // The rows last: as long as they are there, this is done again.
      await orAway(Promise.all(users.map((user) => redis.srem(keys.conversations(user), conversation))))
      await removeEndedMembers(store, parsed.room, users)
    }
    return false
  }
}
