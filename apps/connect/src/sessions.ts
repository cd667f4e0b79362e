/** The live sessions of this node. */
import type { Session } from './session.js'

const SLICES = 16

export interface Sessions {
  add(session: Session): void
  remove(session: Session): void
  byId(id: string): Session | undefined
  of(user: string): readonly Session[]
  /** The session of this device that is here already. */
  ofDevice(user: string, device: string): Session | undefined
  has(user: string): boolean
  all(): Iterable<Session>
  /** A sixteenth of all, a different one each time: for work that is spread over time. */
  nextSlice(): Iterable<Session>
  readonly size: number
}

export const SESSION_SLICES = SLICES

export function createSessions(): Sessions {
  const byId = new Map<string, Session>()
  const byUser = new Map<string, Session[]>()
  const slices = Array.from({ length: SLICES }, () => new Set<Session>())
  let turn = 0
  // Ids are random, so the slices are about alike.
  const sliceOf = ({ id }: Session): Set<Session> => slices[(id.charCodeAt(0) + id.charCodeAt(1)) % SLICES]!
  const none: readonly Session[] = []

  return {
    add(session) {
      byId.set(session.id, session)
      const beside = byUser.get(session.user)
      if (beside) beside.push(session)
      else byUser.set(session.user, [session])
      sliceOf(session).add(session)
    },
    remove(session) {
      if (!byId.delete(session.id)) return
      const left = (byUser.get(session.user) ?? []).filter((other) => other !== session)
      if (left.length > 0) byUser.set(session.user, left)
      else byUser.delete(session.user)
      sliceOf(session).delete(session)
    },
    byId: (id) => byId.get(id),
    of: (user) => byUser.get(user) ?? none,
    ofDevice: (user, device) => byUser.get(user)?.find((session) => session.device === device),
    has: (user) => byUser.has(user),
    all: () => byId.values(),
    nextSlice: () => slices[turn++ % SLICES]!,
    get size() {
      return byId.size
    },
  }
}
