/**
 * Stage 1 of 6, accept: the one way in, for HTTP and WebSocket alike. From the edges; to append. Promise: what is answered is from
 * somebody who may write there, has its id, and is written (stage 2). On failure: a coded error; only `outcome_unknown` leaves open
 * whether something was written.
 */
import { AppError, isRoom } from '@tidings/protocol'
import { jitterSeconds, type StageMetrics, type Tracing } from '@tidings/service'
import type { Appended, Appender, AppendItem } from '@tidings/stream'
import { type Attach, type Attachment, attachmentOf } from './attachments.js'
import type { Permits } from './permits.js'
import type { Screen, Screened } from './screen.js'
import type { AcceptedAt, Draft } from './types.js'
import type { Flagged } from './words/flagged.js'

/** Sends of this process that may wait for a permit, for the pre-send hook or for their conversation's index. */
const MAX_PREPARING = 4_096
/** While an append has waited this long for its answer, another one would only wait longer. */
const SLOW_APPEND_MS = 500
const LOOK_MS = 100
const NONE: readonly string[] = []

export interface AcceptDeps {
  /** Throws `overloaded` while the stores are behind. Asked before anything is written. */
  admit(bulk: boolean): void
  permits: Pick<Permits, 'check' | 'forget'>
  /** Puts the conversation into its users' indexes before its first entry can reach them. */
  indexConversation(conversation: string): undefined | Promise<void>
  /** Asked for messages that refer to uploaded files, and for no others. */
  attach: Attach
  screen: Pick<Screen, 'active' | 'check' | 'find'>
  flagged: Pick<Flagged, 'add'>
  nextId(): string
  appender: Appender
  metrics: StageMetrics
  tracing: Tracing
}

/** A send without an answer. */
interface Open {
  /** performance.now(), of its append when it has begun */
  since: number
  /** The files that it refers to, if any. */
  attachment: Attachment | undefined
  /** What was found in it; undefined when it may pass as it is. */
  screened: Screened | undefined
  /** Why it must not be accepted, unless it was before. */
  refusal: AppError | undefined
  /** The reason is that its sender may not write there. */
  outsider: boolean
}

/** What is being appended on one server. */
interface Appending {
  /** The oldest first. */
  readonly open: Set<Open>
  slow: boolean
}

/** Sends of one sender to one conversation that wait for a permit; later ones queue up behind them. */
export interface Acceptor {
  /** @throws AppError; see the table of codes */
  accept(draft: Draft): Promise<AcceptedAt>
}

/**
 * Calls made one after the other by one sender to one conversation are appended in that order, even when the first of them must
 * still ask for its permit. A send of which all is known is with the appender when `accept` returns: most are, and each turn of
 * promises that they do not take counts.
 */
export function createAcceptor(deps: AcceptDeps): Acceptor {
  const { admit, permits, indexConversation, attach, screen, flagged, nextId, appender, metrics, tracing } = deps
  /** The newest of the waiting sends, by sender and conversation. */
  const preparing = new Map<string, Promise<unknown>>()
  let waiting = 0
  /** By server: one that is away, or whose slots move, does not make the others refuse. */
  const appending = new Map<number, Appending>()
  let looking = false

  /** Whatever must be known before the append, and is noted in `one`; undefined when all of it is known already. */
  function prepare(draft: Draft, one: Open): undefined | Promise<unknown> {
    const permit = permits.check(draft.from, draft.conversation)
    // Not before the permit is there: a send that is refused leaves no trace, is not shown to the hook, and shows nobody a file.
    if (!(permit instanceof Promise)) return afterPermit(draft, one)
    return permit.then(
      () => afterPermit(draft, one),
      (error: unknown) => withoutPermit(draft, one, error),
    )
  }

  /** What was accepted stays so, whoever has blocked or removed its sender since: of that alone the append tells. @throws the error */
  function withoutPermit(draft: Draft, one: Open, error: unknown): undefined {
    if (!(error instanceof AppError) || error.status >= 500) throw error
    refuse(draft, one, error)
    one.outsider = true
    // What was appended may have been masked, and be all that is known of it.
    if (screen.active) one.screened = screen.find(draft)
  }

  function afterPermit(draft: Draft, one: Open): undefined | Promise<unknown> {
    if (!screen.active) return open(draft, one)

    function known(screened: Screened | undefined): undefined | Promise<unknown> {
      one.screened = screened
      if (!screened) return open(draft, one)
      if (screened.refusal) return refuse(draft, one, screened.refusal)
      // The hook may have put other files in the place of the sender's.
      one.attachment = attachmentOf({ ...draft, content: screened.content }, nextId)
      return open(draft, one)
    }

    const looked = screen.check(draft)
    return looked instanceof Promise ? looked.then(known) : known(looked)
  }

  /** Lets those who will read it find it, and read its files. */
  function open(draft: Draft, one: Open): undefined | Promise<unknown> {
    const { attachment } = one
    if (!attachment) return indexConversation(draft.conversation)
    return attach(attachment).then(
      () => indexConversation(draft.conversation),
      (error: unknown) => {
        // A file may be gone, or full of uses, since a message with it was accepted.
        if (error instanceof AppError && error.status < 500) return refuse(draft, one, error)
        throw error
      },
    )
  }

  /** With a clientId it may be a retry of what was accepted before: that is for the append to say. @throws the error without one */
  function refuse({ clientId }: Draft, one: Open, error: AppError): undefined {
    one.refusal = error
    if (clientId === '') throw error
  }

  /** Appends when all is known that must be, and behind what the same sender has sent there before. */
  function inTurn<T>(draft: Draft, one: Open, append: () => Promise<T>): Promise<T> {
    const ready = prepare(draft, one)
    if (!ready && preparing.size === 0) return append()
    const key = `${draft.from} ${draft.conversation}`
    const before = preparing.get(key)
    return before || ready ? afterwards(key, before, ready, append) : append()
  }

  async function afterwards<T>(key: string, before: unknown, ready: unknown, append: () => Promise<T>): Promise<T> {
    waiting++
    const turn = Promise.allSettled([before, ready])
    preparing.set(key, turn)
    try {
      const [, own] = await turn
      if (own.status === 'rejected') throw own.reason
      // Before it is off the list: what comes next may not have to wait at all. It is not waited for.
      return append()
    } finally {
      waiting--
      if (preparing.get(key) === turn) preparing.delete(key)
    }
  }

  function appendingAt(server: number): Appending {
    let at = appending.get(server)
    if (!at) {
      at = { open: new Set(), slow: false }
      appending.set(server, at)
    }
    return at
  }

  /** @throws AppError `overloaded` */
  function requireCapacity(at: Appending): void {
    if (waiting >= MAX_PREPARING)
      throw new AppError('overloaded', 'Too many messages wait for a permit or for their check.', {
        retryAfter: jitterSeconds(1, 5),
      })
    if (at.slow) {
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
    for (const at of appending.values()) {
      const [oldest] = at.open
      at.slow = oldest !== undefined && performance.now() - oldest.since > SLOW_APPEND_MS
      if (oldest) lookSoon()
    }
  }

  return {
    accept(draft) {
      const began = performance.now()
      const { conversation } = draft
      const span = tracing.enabled ? tracing.start('accept', draft.trace, { conversation }) : undefined
      const at = appendingAt(appender.serverOf(conversation))
      const one: Open = {
        since: began,
        attachment: undefined,
        screened: undefined,
        refusal: undefined,
        outsider: false,
      }

      function append(): Promise<Appended> {
        const trace = span ? span.traceparent : draft.trace
        const { from, type, clientId } = draft
        const { attachment, screened } = one
        const content = screened ? screened.content : draft.content
        const item: AppendItem = {
          id: attachment && draft.edits === undefined ? attachment.message : nextId(),
          conversation,
          from,
          type,
          content,
          sent: screened && draft.content,
          refusal: one.refusal,
          outsider: one.outsider,
          clientId,
          sentAt: Date.now(),
          trace,
          members: isRoom(conversation) ? 'check' : undefined,
          change: draft.change,
        }
        one.since = performance.now()
        at.open.add(one)
        lookSoon()
        if (!span) return appender.append(item)
        const appendSpan = tracing.start('append', trace)
        return appender.append(item).finally(() => appendSpan.end())
      }

      function failed(error: unknown): never {
        at.open.delete(one)
        // Perhaps in the order of the room's log the sender was not in it any more: the permit was older.
        if (error instanceof AppError && error.status < 500 && error !== one.refusal)
          permits.forget(draft.from, conversation)
        metrics.failed(error instanceof AppError ? error.code : 'internal')
        span?.end(error)
        throw error
      }

      function done({ id, seq, sentAt, duplicate, streamId, partition, generation }: Appended) {
        at.open.delete(one)
        metrics.done(performance.now() - began)
        span?.end()
        const words = one.screened?.flagged ?? NONE
        if (words.length > 0 && !duplicate) {
          flagged.add({ id, conversation, seq, from: draft.from, type: draft.type, sentAt, words })
        }
        return { id, conversation, seq, sentAt, duplicate, streamId, partition, generation }
      }

      try {
        admit(draft.bulk === true)
        requireCapacity(at)
        one.attachment = attachmentOf(draft, nextId)
        return inTurn(draft, one, append).then(done, failed)
      } catch (error) {
        return new Promise(() => failed(error))
      }
    },
  }
}
