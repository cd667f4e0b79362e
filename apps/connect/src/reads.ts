/**
 * What people have read, on its way to logic: for each session and conversation one call at a time, and of what is said meanwhile the
 * furthest goes next. Reading is cumulative, so nobody misses the others, and saying it often costs no more than logic can do.
 */
import type { LogicClient } from '@tidings/accept'
import { AppError } from '@tidings/protocol'
import type { Session } from './session.js'

/** Of one session. */
const MAX_CONVERSATIONS = 500

/**
 * Settles when logic has answered, or when a later read of the same conversation goes instead.
 * @throws AppError what logic refuses with; `overloaded` when too many conversations are read at once
 */
export type Reads = (session: Session, conversation: string, seq: number) => Promise<void>

interface Waiting {
  seq: number
  settle(outcome?: Promise<void>): void
}

/** By conversation; undefined where nothing waits behind the call. */
type OnTheirWay = Map<string, Waiting | undefined>

export function createReads(logic: Pick<LogicClient, 'read'>): Reads {
  const bySession = new Map<Session, OnTheirWay>()

  async function call(session: Session, own: OnTheirWay, conversation: string, seq: number): Promise<void> {
    own.set(conversation, undefined)
    try {
      await logic.read({ user: session.user, conversation, seq })
    } finally {
      const next = own.get(conversation)
      if (next) next.settle(call(session, own, conversation, next.seq))
      else own.delete(conversation)
      if (own.size === 0) bySession.delete(session)
    }
  }

  return async (session, conversation, seq) => {
    const own: OnTheirWay = bySession.get(session) ?? new Map()
    if (own.has(conversation)) {
      const before = own.get(conversation)
      before?.settle()
      return new Promise((settle) => own.set(conversation, { seq: Math.max(seq, before?.seq ?? 0), settle }))
    }
    if (own.size >= MAX_CONVERSATIONS)
      throw new AppError('overloaded', 'Too many conversations are read at once.', { retryAfter: 1 })
    bySession.set(session, own)
    return call(session, own, conversation, seq)
  }
}
