/**
 * Pushing: what a server has to say to many users, to a room or to everyone. From api; to append, like every other entry. Each user's
 * is an entry of the user's own feed, with a result of its own; a room and `feed:*` have one entry, however many there are to see it.
 * The operator's words are looked for in it once; the hook, which is asked about people's messages, is not.
 */
import { AppError, EVERYONE, feedId, optionsText, type Priority, serviceSender, toAppError } from '@tidings/protocol'
import { jitterSeconds, type StageMetrics } from '@tidings/service'
import type { Appended, Appender } from '@tidings/stream'
import type { KnownUsers } from './known-users.js'
import type { Screen } from './screen.js'
import type { Accepted } from './types.js'
import type { Flagged } from './words/flagged.js'

/** Entries of all pushes of this process that are being appended: what people send shall not wait behind thousands of them. */
const AT_ONCE = 256
/** Pushes that wait for their turn. */
const MAX_WAITING = 64

/** Well-formed: ids match their patterns, the content its bounds. */
export interface Push {
  /** The name of the service token. */
  service: string
  type: string
  /** Raw JSON text, as `checkContent` returned it. */
  content: string
  /** The key of the whole push, or ''. */
  clientId: string
  ttlS: number | undefined
  priority: Priority
  collapseKey: string | undefined
  trace: string
}

/** One that was looked at. */
interface Checked extends Push {
  /** What was pushed, where the content may be another. */
  sent: string | undefined
  /** It goes to nobody but those whom an earlier call with its key has reached. */
  refusal: AppError | undefined
  /** Words that an operator wants to know of. */
  words: readonly string[]
}

export interface PushedUsers {
  accepted: number
  /** Of these, how many an earlier push with the same key had reached. */
  duplicates: number
  refused: { user: string; error: AppError }[]
}

export interface PushAcceptor {
  /**
   * To each of the users, whatever becomes of the others.
   * @throws AppError `overloaded`, `word_rejected`, with nothing accepted
   */
  toUsers(push: Push, users: readonly string[]): Promise<PushedUsers>
  /** @throws AppError `room_not_found`; see the table of codes */
  toRoom(push: Push, room: string): Promise<Accepted>
  /** @throws AppError; see the table of codes */
  toAll(push: Push): Promise<Accepted>
}

const NONE: readonly string[] = []

const notTried = (): AppError =>
  new AppError('unavailable', 'The message store does not answer now; nothing was accepted.', { retryAfter: 1 })

export function createPushAcceptor(deps: {
  /** Throws `overloaded` while the stores are behind. */
  admit(bulk: boolean): void
  knownUsers: Pick<KnownUsers, 'refusals'>
  indexConversation(conversation: string): undefined | Promise<void>
  nextId(): string
  screen: Pick<Screen, 'checkWords'>
  flagged: Pick<Flagged, 'add'>
  appender: Pick<Appender, 'append'>
  metrics: StageMetrics
}): PushAcceptor {
  const { knownUsers, indexConversation, nextId, screen, flagged, appender, metrics } = deps
  let turn: Promise<unknown> = Promise.resolve()
  let waiting = 0

  /** What is urgent is taken as long as people's own messages are. */
  const admit = ({ priority }: Push): void => deps.admit(priority !== 'high')

  /** One push to users after the other. @throws AppError `overloaded` */
  function inTurn<T>(run: () => Promise<T>): Promise<T> {
    if (waiting >= MAX_WAITING) {
      throw new AppError('overloaded', 'Too many pushes wait for their turn.', { retryAfter: jitterSeconds(1, 5) })
    }
    waiting++
    const own = turn.then(run).finally(() => waiting--)
    turn = own.catch(() => undefined)
    return own
  }

  /**
   * Once for all users: it says the same to each.
   * @throws AppError `word_rejected`; with a key it may be a retry of what was accepted before, which the append knows
   */
  function look(push: Push, conversation: string): Checked {
    const { clientId, content } = push
    // What the system itself says has no words of people; what a server says as the system is read like any text.
    const type = push.type === 'system' ? 'text' : push.type
    const found = screen.checkWords({ conversation, type, content })
    if (!found) return { ...push, sent: undefined, refusal: undefined, words: NONE }
    const { refusal, flagged: words } = found
    if (refusal && clientId === '') {
      metrics.failed(refusal.code)
      throw refusal
    }
    return { ...push, content: found.content, sent: content, refusal, words }
  }

  function tellOf({ service, type, words }: Checked, conversation: string, { id, seq, sentAt }: Appended): void {
    if (words.length > 0) flagged.add({ id, conversation, seq, from: serviceSender(service), type, sentAt, words })
  }

  async function append(push: Checked, conversation: string, members: 'known' | undefined): Promise<Appended> {
    const { service, type, content, sent, refusal, clientId, ttlS, priority, collapseKey, trace } = push
    const began = performance.now()
    try {
      const indexed = refusal ? undefined : indexConversation(conversation)
      if (indexed) await indexed
      const sentAt = Date.now()
      const options = optionsText({
        ...(ttlS !== undefined && { expiresAt: sentAt + ttlS * 1_000 }),
        ...(priority === 'high' && { priority }),
        ...(collapseKey !== undefined && { collapseKey }),
      })
      const id = nextId()
      const from = serviceSender(service)
      const appended = await appender.append({
        ...{ id, conversation, from, type, content, sent, refusal, clientId, sentAt, trace, members },
        ...{ options, collapseKey },
      })
      metrics.done(performance.now() - began)
      return appended
    } catch (thrown) {
      const error = toAppError(thrown)
      metrics.failed(error.code)
      throw error
    }
  }

  async function one(push: Push, conversation: string, members?: 'known'): Promise<Accepted> {
    admit(push)
    const checked = look(push, conversation)
    const appended = await append(checked, conversation, members)
    const { id, seq, sentAt, duplicate } = appended
    if (!duplicate) tellOf(checked, conversation, appended)
    return { id, conversation, seq, sentAt, duplicate }
  }

  async function each(push: Checked, users: readonly string[]): Promise<PushedUsers> {
    const refusals = await knownUsers.refusals(users)
    const refused = [...refusals].map(([user, error]) => ({ user, error }))
    const there = users.filter((user) => !refusals.has(user))
    let accepted = 0
    let duplicates = 0
    let told = false
    for (let at = 0; at < there.length; at += AT_ONCE) {
      const chunk = there.slice(at, at + AT_ONCE)
      const results = await Promise.allSettled(chunk.map((user) => append(push, feedId(user), undefined)))
      let answered = 0
      for (const [i, result] of results.entries()) {
        if (result.status === 'rejected') refused.push({ user: chunk[i]!, error: result.reason as AppError })
        else if (result.value.duplicate) duplicates++
        else if (!told) {
          // One stands for all: ten thousand of the same would leave no room for what else was flagged.
          tellOf(push, feedId(chunk[i]!), result.value)
          told = true
        }
        if (result.status === 'fulfilled') accepted++
        if (result.status === 'fulfilled' || (result.reason as AppError).status < 500) answered++
      }
      if (answered > 0) continue
      // The store is away: to wait for it with each of forty chunks would take longer than anybody waits for us.
      for (const user of there.slice(at + AT_ONCE)) refused.push({ user, error: notTried() })
      break
    }
    // Nobody has it, for sure: then it is refused as a message is.
    if (push.refusal && accepted === 0 && refused.every(({ error }) => error.status < 500)) throw push.refusal
    return { accepted, duplicates, refused }
  }

  return {
    async toUsers(push, users) {
      admit(push)
      const checked = look(push, EVERYONE)
      return await inTurn(() => each(checked, [...new Set(users)]))
    },
    async toRoom(push, room) {
      try {
        return await one(push, `room:${room}`, 'known')
      } catch (error) {
        if (!(error instanceof AppError) || error.code !== 'conversation_not_found') throw error
        throw new AppError('room_not_found', 'There is no such room.')
      }
    },
    toAll: (push) => one(push, EVERYONE),
  }
}
