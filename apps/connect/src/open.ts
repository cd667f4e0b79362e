/**
 * From an open socket to a live session. The order is the promise: the session is listed before its positions are read, so that an
 * entry appended in between is either read here or pushed to here; what is pushed meanwhile is remembered as a hint.
 */

import type { LogicClient } from '@tidings/accept'
import { AppError, Close } from '@tidings/protocol'
import type { ConnectNodes, ListedSession, SessionLister, SessionListing } from '@tidings/registry'
import { jitterSeconds, type Logger, pause, withBound } from '@tidings/service'
import type { Acks } from './ack.js'
import type { CatchUp } from './catch-up.js'
import type { ConnectLimits } from './limits.js'
import type { Presence } from './presence.js'
import type { Session } from './session.js'
import type { Sessions } from './sessions.js'
import type { Slots } from './slots.js'
import type { Sweep } from './sweep.js'

const REPLACE_BOUND_MS = 1_000
const RESUME_BOUND_MS = 10_000
/** For how long, in seconds, a node that lists a session may be missing from our copy of the listings. */
const NODE_BOUND_S = 10
/** A worker's copy of the sessions may lag by this much: what it did not push to us is looked for once more. */
export const RECHECK_MS = 2_000

export interface OpenDeps {
  node: string
  heartbeatMs: number
  maxFrameBytes: number
  sessions: Sessions
  lister: SessionLister
  nodes: Pick<ConnectNodes, 'client'>
  logic: Pick<LogicClient, 'openDevice'>
  acks: Acks
  catchUp: CatchUp
  slots: Pick<Slots, 'full'>
  /** Who is between the first byte and `ready`. When too many are, who comes is sent away before anything is done for them. */
  openings: Pick<Slots, 'full' | 'run'>
  presence: Pick<Presence, 'began'>
  limits: ConnectLimits
  sweep: Sweep
  /** This node ends. */
  signal: AbortSignal
  log: Logger
}

export type EndDeps = Pick<OpenDeps, 'nodes' | 'signal' | 'log'>

export interface Wishes {
  resume: boolean
  fromOldest: boolean
}

/** @throws AppError `overloaded` when too many sessions are opening or catching up: the client shall come back */
export function requireCapacity({ slots, openings }: Pick<OpenDeps, 'slots' | 'openings'>): void {
  if (!slots.full && !openings.full) return
  throw new AppError('overloaded', 'Too many sessions are opening or catching up here. Come back shortly.', {
    retryAfter: jitterSeconds(1, 5),
  })
}

/**
 * Lists the session and learns where it stands.
 * @throws AppError `unavailable`, `overloaded`: the client shall come back; `rate_limited` when the user has too many sessions
 */
export async function beginSession(deps: OpenDeps, session: Session, wishes: Wishes): Promise<void> {
  // One of the same device is replaced by this one.
  const others = deps.sessions.of(session.user).filter(({ device }) => device !== session.device)
  if (others.length >= deps.limits.perUser)
    throw new AppError('rate_limited', 'This user has too many connections here.', { retryAfter: 5 })
  await endOlder(deps, session)
  if (session.closed) return
  const { user, device } = session
  const { positions } = await deps.logic.openDevice({ user, device })
  session.begin(positions, wishes)
  deps.sessions.enterRooms(session)
}

/** Shows a session that has begun what it lacks, and lets it take part. @throws AppError `bad_frame` when its cursors do not come */
export async function goLive(deps: OpenDeps, session: Session, wishes: Wishes): Promise<void> {
  if (session.closed) return
  session.tell({
    op: 'ready',
    session: session.id,
    user: session.user,
    device: session.device,
    node: deps.node,
    heartbeat: deps.heartbeatMs,
    maxFrame: deps.maxFrameBytes,
  })
  if (wishes.resume) await clientCursors(session)
  let shown = 0
  for (const conversation of session.open()) shown += await deps.catchUp.repair(session, conversation)
  session.tell({ op: 'synced', messages: shown })
  deps.sweep.soon(RECHECK_MS)
}

/** One live session per device: an older one, here or on another node, flushes its acks and goes before our cursors are read. */
async function endOlder(deps: OpenDeps, session: Session): Promise<void> {
  const { sessions, lister, acks, log } = deps
  const here = sessions.ofDevice(session.user, session.device)
  sessions.add(session)
  deps.presence.began(session.user)
  if (here) {
    here.close(Close.Replaced, 'replaced by a newer session of the device')
    await acks.flush()
    if (session.closed) return
  }
  let older: ListedSession[]
  try {
    older = await lister.list(session)
  } catch (error) {
    if (error instanceof AppError && error.code === 'overloaded') throw error
    // Without etcd nobody pushes to this session until it is listed; the sweep shows it what comes.
    log.warn(
      { err: error instanceof Error ? error.message : error, session: session.id },
      'a session is not listed yet',
    )
    deps.sweep.soon(1_000)
    return
  } finally {
    // It closed while it was being listed: its close found nothing to take off.
    if (session.closed) lister.unlist(session.id)
  }
  const same = older.filter(({ node, device }) => device === session.device && node !== deps.node)
  await Promise.all(same.map((other) => endElsewhere(deps, session, other)))
  await holdPolicy(
    deps,
    session,
    older.filter(({ device }) => device !== session.device),
  )
}

/**
 * Counts what etcd listed of the user before this session, so that of two that open at once one knows that it is the later one.
 * @param older of other devices, the oldest first
 * @throws AppError `rate_limited` when this one is one too many, and is not to replace another
 */
async function holdPolicy(deps: OpenDeps, session: Session, older: readonly ListedSession[]): Promise<void> {
  const { sessionsPerUser: most, policy } = deps.limits
  if (most === 0 || older.length < most) return
  // One that is being replaced is listed twice for a moment.
  const byDevice = [...new Map(older.map((other) => [other.device, other])).values()]
  if (byDevice.length < most) return
  if (policy === 'refuse')
    throw new AppError('rate_limited', `This user may have ${most} sessions, and has them.`, { retryAfter: 5 })
  await Promise.all(
    byDevice.slice(0, byDevice.length + 1 - most).map(async (other) => {
      if (other.node !== deps.node) await endElsewhere(deps, session, other)
      else deps.sessions.byId(other.session)?.close(Close.Replaced, 'replaced by a newer session of the user')
    }),
  )
}

/**
 * Two of a device that did not see each other as they began, because etcd or a way to it was gone: the one that began last stays.
 * Clocks decide this one time; etcd has no order of what it was not told.
 * @param others whoever is listed of the user
 */
export async function endLate(
  deps: EndDeps & Pick<OpenDeps, 'node' | 'sessions'>,
  { id, device, began }: SessionListing,
  others: readonly ListedSession[],
): Promise<void> {
  const session = deps.sessions.byId(id)
  if (!session || session.closed) return
  // One of an earlier version does not say when it began: it is left alone.
  const same = others.filter(
    (other) => other.device === device && other.node !== deps.node && other.began !== undefined,
  )
  const isNewer = (other: ListedSession): boolean => (other.began === began ? other.session > id : other.began! > began)
  if (same.some(isNewer)) session.close(Close.Replaced, 'replaced by a newer session of the device')
  else await Promise.all(same.map((other) => endElsewhere(deps, session, other)))
}

/** Waits for the node to have ended it, but not for a node that is missing from our copy of the listings. */
async function endElsewhere(deps: EndDeps, session: Session, other: ListedSession): Promise<void> {
  if (!(await closeThere(deps, other))) void endWhenListed(deps, session, other)
}

/** After an outage the listings are read anew: a node that lists sessions is there, or soon will be. */
async function endWhenListed(deps: EndDeps, session: Session, other: ListedSession): Promise<void> {
  for (let s = 0; s < NODE_BOUND_S; s++) {
    await pause(1_000, deps.signal)
    if (deps.signal.aborted || session.closed || (await closeThere(deps, other))) return
  }
}

/** @returns false when the node is not listed */
async function closeThere({ nodes, log }: EndDeps, other: ListedSession): Promise<boolean> {
  try {
    const client = nodes.client(other.node)
    if (!client) return false
    await client.closeSession({ session: other.session, code: Close.Replaced }, { deadlineMs: REPLACE_BOUND_MS })
  } catch (error) {
    // A node that does not answer is dying or cut off; its session ends with its lease.
    log.warn(
      { err: error instanceof Error ? error.message : error, node: other.node },
      'could not end an older session',
    )
  }
  return true
}

async function clientCursors(session: Session): Promise<void> {
  const given = new Promise<void>((resolve) => {
    session.resuming = { done: resolve }
  })
  try {
    await withBound(given, RESUME_BOUND_MS)
  } catch (error) {
    throw new AppError('bad_frame', 'No resume frame with done:true came in time.', { cause: error })
  } finally {
    session.resuming = undefined
  }
}
