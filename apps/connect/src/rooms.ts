/**
 * Who of ours is in which room, compared once more. The pushed entries tell it; a push may be lost, and whoever was let into a room with
 * nobody else here would not know. So what etcd tells of a change is compared with what the sessions know, a moment later.
 */
import type { LogicClient } from '@tidings/accept'
import { AppError } from '@tidings/protocol'
import type { RoomNotice } from '@tidings/registry'
import { backoffMs, type Logger, type Stoppable } from '@tidings/service'
import type { CatchUp } from './catch-up.js'
import type { Session } from './session.js'
import type { Sessions } from './sessions.js'
import type { Slots } from './slots.js'

/** The push comes first, nearly always. */
const PATIENCE_MS = 1_000
const RETRY = { firstMs: 500, maxMs: 5_000 }

export interface Rooms extends Stoppable {
  changed(room: string, change: RoomNotice): void
  /** Changes may have passed unseen: all sessions are compared. */
  missed(): void
}

export function createRooms(deps: {
  sessions: Sessions
  catchUp: Pick<CatchUp, 'repairSoon'>
  logic: Pick<LogicClient, 'openDevice'>
  /** For reading positions. */
  openings: Slots
  log: Logger
}): Rooms {
  const { sessions, catchUp, logic, openings, log } = deps
  const comparing = new Set<Session>()
  /** Those to compare once more: what is being read for them may be older than what they were to be compared for. */
  const again = new Set<Session>()
  const timers = new Set<NodeJS.Timeout>()

  function later(ms: number, run: () => void): void {
    const timer = setTimeout(() => {
      timers.delete(timer)
      run()
    }, ms)
    timers.add(timer)
  }

  function compareSoon(session: Session, failures = 0): void {
    if (session.closed) return
    if (comparing.has(session)) {
      again.add(session)
      return
    }
    // Its positions may have been read already, before the change.
    if (session.state === 'opening') {
      later(PATIENCE_MS, () => compareSoon(session))
      return
    }
    comparing.add(session)
    compare(session)
      .catch((error: unknown) => {
        if (!(error instanceof AppError))
          log.error({ err: error, session: session.id }, 'comparing the rooms of a session')
        // It reads afresh, later: nothing is in a hurry while logic does not answer.
        again.delete(session)
        later(backoffMs(failures, RETRY), () => compareSoon(session, failures + 1))
      })
      .finally(() => {
        comparing.delete(session)
        if (again.delete(session)) compareSoon(session)
      })
  }

  async function compare(session: Session): Promise<void> {
    const before = new Map([...session.rooms()].map((room) => [room, session.joinedAt(room)]))
    const { user, device } = session
    const { positions } = await openings.run(() => logic.openDevice({ user, device }))
    if (session.closed) return
    const listed = new Set<string>()
    for (const { conversation, cursor, head, joined, floor } of positions) {
      if (joined === 0) continue
      listed.add(conversation)
      session.join(conversation, { joined, floor, cursor })
      if (session.reaches(conversation, head)) catchUp.repairSoon(session, conversation)
    }
    sessions.enterRooms(session)
    for (const [room, joined] of before) {
      // One that was entered again meanwhile is newer than what was read.
      if (!listed.has(room) && session.joinedAt(room) === joined) sessions.leaveRoom(session, room)
    }
  }

  return {
    changed(room, { joined, left, ended }) {
      const conversation = `room:${room}`
      if (!ended && ![...joined, ...left].some((user) => sessions.of(user).length > 0)) return
      later(PATIENCE_MS, () => {
        const unaware = (user: string, isIn: boolean): Session[] =>
          sessions.of(user).filter((session) => (session.joinedAt(conversation) !== undefined) !== isIn)
        const concerned = [
          ...joined.flatMap((user) => unaware(user, true)),
          ...left.flatMap((user) => unaware(user, false)),
          ...(ended ? sessions.concerned(conversation) : []),
        ]
        for (const session of concerned) compareSoon(session)
      })
    },
    missed() {
      for (const session of sessions.all()) compareSoon(session)
    },
    async stop() {
      for (const timer of timers) clearTimeout(timer)
    },
  }
}
