/**
 * Stage 1 of 6, accept: the one way in, for HTTP and WebSocket alike. From the edges; to append. Promise: what is answered is from
 * somebody who may write there, has its id, and is written (stage 2). On failure: a coded error; only `outcome_unknown` leaves open
 * whether something was written.
 */
import { AppError, isRoom } from '@tidings/protocol'
import { jitterSeconds, type StageMetrics, type Tracing } from '@tidings/service'
import type { Appended, Appender, AppendItem } from '@tidings/stream'
import type { Permits } from './permits.js'
import type { AcceptedAt, Draft } from './types.js'

/** Sends of this process that may wait for a permit or for their conversation's index. */
const MAX_PREPARING = 4_096
/** While an append has waited this long for its answer, another one would only wait longer. */
const SLOW_APPEND_MS = 500
const LOOK_MS = 100

export interface AcceptDeps {
  /** Throws `overloaded` while the stores are behind. Asked before anything is written. */
  admit(bulk: boolean): void
  permits: Pick<Permits, 'check' | 'forget'>
  /** Puts the conversation into its users' indexes before its first entry can reach them. */
  indexConversation(conversation: string): undefined | Promise<void>
  nextId(): string
  appender: Appender
  metrics: StageMetrics
  tracing: Tracing
}

/** What is being appended on one server. */
interface Appending {
  /** Without an answer, the oldest first. */
  readonly open: Set<{ since: number }>
  slow: boolean
}

/** Sends of one sender to one conversation that wait for a permit; later ones queue up behind them. */
export interface Acceptor {
  /** @throws AppError; see the table of codes */
  accept(draft: Draft): Promise<AcceptedAt>
}

/**
 * Calls made one after the other by one sender to one conversation are appended in that order, even when the first of them must
 * still ask for its permit.
 */
export function createAcceptor(deps: AcceptDeps): Acceptor {
  const { admit, permits, indexConversation, nextId, appender, metrics, tracing } = deps
  /** The newest of the waiting sends, by sender and conversation. */
  const preparing = new Map<string, Promise<unknown>>()
  let waiting = 0
  /** By server: one that is away, or whose slots move, does not make the others refuse. */
  const appending = new Map<number, Appending>()
  let looking = false

  /** Whatever must be known before the append; undefined when all of it is known already. */
  function prepare(draft: Draft): undefined | Promise<unknown> {
    const permit = permits.check(draft.from, draft.conversation)
    // Not before the permit is there: a send that is refused leaves no trace.
    if (permit instanceof Promise) return permit.then(() => indexConversation(draft.conversation))
    return indexConversation(draft.conversation)
  }

  async function inTurn(draft: Draft): Promise<void> {
    const key = `${draft.from} ${draft.conversation}`
    const before = preparing.get(key)
    const ready = prepare(draft)
    if (!before && !ready) return
    waiting++
    const turn = Promise.allSettled([before, ready])
    preparing.set(key, turn)
    try {
      const [, own] = await turn
      if (own.status === 'rejected') throw own.reason
    } finally {
      waiting--
      if (preparing.get(key) === turn) preparing.delete(key)
    }
  }

  /** @throws AppError `overloaded` */
  function requireRoom(conversation: string): void {
    if (waiting >= MAX_PREPARING)
      throw new AppError('overloaded', 'Too many messages wait for a permit.', {
        retryAfter: jitterSeconds(1, 5),
      })
    if (appending.get(appender.serverOf(conversation))?.slow) {
      throw new AppError('overloaded', 'Writing messages takes too long now. Try again shortly.', {
        retryAfter: jitterSeconds(1, 5),
      })
    }
  }

  /** While something is appending. After the turn's input was read, or a long turn of our own would look like a slow Redis. */
  function lookSoon(): void {
    if (looking) return
    looking = true
    setTimeout(() => setImmediate(look), LOOK_MS)
  }

  function look(): void {
    looking = false
    for (const [server, at] of appending) {
      const [oldest] = at.open
      if (!oldest) appending.delete(server)
      else at.slow = performance.now() - oldest.since > SLOW_APPEND_MS
    }
    if (appending.size > 0) lookSoon()
  }

  async function append(draft: Draft, trace: string): Promise<Appended> {
    const item: AppendItem = { ...draft, id: nextId(), sentAt: Date.now(), trace }
    if (isRoom(draft.conversation)) item.members = 'check'
    const one = { since: performance.now() }
    const server = appender.serverOf(item.conversation)
    const at = appending.get(server) ?? { open: new Set(), slow: false }
    appending.set(server, at)
    at.open.add(one)
    lookSoon()
    try {
      return await appender.append(item)
    } catch (error) {
      // In the order of the room's log the sender was not in it any more: the permit was older.
      if (error instanceof AppError && error.status < 500) permits.forget(draft.from, draft.conversation)
      throw error
    } finally {
      at.open.delete(one)
    }
  }

  return {
    async accept(draft) {
      const began = performance.now()
      const span = tracing.enabled
        ? tracing.start('accept', draft.trace, { conversation: draft.conversation })
        : undefined
      try {
        admit(draft.bulk === true)
        requireRoom(draft.conversation)
        await inTurn(draft)
        const trace = span ? span.traceparent : draft.trace
        const appendSpan = span ? tracing.start('append', trace) : undefined
        const appended = await append(draft, trace)
        appendSpan?.end()
        metrics.done(performance.now() - began)
        span?.end()
        return { conversation: draft.conversation, ...appended }
      } catch (error) {
        metrics.failed(error instanceof AppError ? error.code : 'internal')
        span?.end(error)
        throw error
      }
    },
  }
}
