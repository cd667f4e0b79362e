/**
 * Removes entries that are older than the instance or their room wants: by age, the oldest first, a few hundred rows in a transaction
 * and a pause after each. The log in Redis goes first, so that nobody is shown there what MySQL has no more.
 */

import { type Logger, pause, type Stoppable } from '@tidings/service'
import {
  conversationsBefore,
  expire,
  findExpiring,
  type Job,
  type RetainedRoom,
  roomConversation,
  roomsWithRetention,
  type Store,
} from '@tidings/store'
import { expireFolds, expireLog, type Keys, type Redis } from '@tidings/stream'
import { startJob } from './job.js'

const DAY_MS = 24 * 60 * 60_000
/** Rows in one transaction, and in one look at ids. */
const ROWS = 500
const LOOK = 1_000
const ROOMS = 200
/** So long after the last cut of a log nobody still looks at the folds of what was cut; and so many are remembered until then. */
const LOOKED_MS = 2_000
const MOST_CUT = 10_000
/** After each transaction: as long as it took, and at least this. */
const PAUSE_MS = 20

export interface RetentionDeps {
  store: Store
  redis: Redis
  keys: Keys
  /** 0: whatever has no retention of its own is kept for ever. */
  days: number
  everyMs: number
  owner: string
  /** Rows that were removed. */
  removed(rows: number): void
  log: Logger
  now?: () => number
}

export function startRetention(deps: RetentionDeps): Stoppable {
  const { store, everyMs, owner, log } = deps
  return startJob({ store, name: 'retention', owner, everyMs, log, run: (job, signal) => sweep(deps, job, signal) })
}

/** One look at everything. @returns false when the job is another's @throws AppError `unavailable` */
export async function sweep(deps: RetentionDeps, job: Job, signal: AbortSignal): Promise<boolean> {
  const now = (deps.now ?? Date.now)()
  const cut: Cut = new Map()
  const mine = (await sweepAll(deps, cut, job, now, signal)) && (await sweepRooms(deps, cut, job, now, signal))
  await forgetFolds(deps, cut, signal)
  return mine
}

/** Conversations whose logs were cut in this turn, and up to where. */
type Cut = Map<string, number>

/** What a turn that ends here leaves goes with the next entries of its conversation. */
async function forgetFolds({ redis, keys }: RetentionDeps, cut: Cut, signal: AbortSignal): Promise<void> {
  if (cut.size === 0) return
  await pause(LOOKED_MS, signal)
  if (signal.aborted) return
  for (const [conversation, floor] of cut) await expireFolds(redis, keys, conversation, floor)
  cut.clear()
}

async function sweepAll(deps: RetentionDeps, cut: Cut, job: Job, now: number, signal: AbortSignal): Promise<boolean> {
  if (deps.days === 0) return true
  const before = now - deps.days * DAY_MS
  for (let after = '0'; !signal.aborted; ) {
    const page = await conversationsBefore(deps.store, before, after, LOOK)
    if (!page) return true
    for (const conversation of page.conversations)
      if (!(await expireAll(deps, cut, job, conversation, before, signal))) return false
    // What is still there below it, behind a younger one, is looked at in the next turn.
    after = page.last
  }
  return true
}

async function sweepRooms(deps: RetentionDeps, cut: Cut, job: Job, now: number, signal: AbortSignal): Promise<boolean> {
  for (let last: RetainedRoom | undefined; !signal.aborted; ) {
    const rooms = await roomsWithRetention(deps.store, last, ROOMS)
    for (const { id, days } of rooms) {
      if (deps.days > 0 && days >= deps.days) continue
      if (!(await expireAll(deps, cut, job, roomConversation(id), now - days * DAY_MS, signal))) return false
    }
    last = rooms.at(-1)
    if (rooms.length < ROOMS) return true
  }
  return true
}

/** @returns false when the job is another's */
async function expireAll(
  deps: RetentionDeps,
  cut: Cut,
  job: Job,
  conversation: string,
  before: number,
  signal: AbortSignal,
): Promise<boolean> {
  const { store, redis, keys, log } = deps
  for (let more = true; more && !signal.aborted; ) {
    const began = performance.now()
    const found = await findExpiring(store, conversation, before, ROWS)
    if (!found) return true
    await expireLog(redis, keys, conversation, found.floor.seq)
    const removed = await expire(store, job, conversation, found, before)
    if (removed === undefined) return false
    cut.set(conversation, found.floor.seq)
    if (cut.size >= MOST_CUT) await forgetFolds(deps, cut, signal)
    deps.removed(removed)
    log.debug({ conversation, floor: found.floor.seq, removed }, 'old entries were removed')
    more = found.more
    await pause(Math.max(PAUSE_MS, performance.now() - began), signal)
  }
  return true
}
