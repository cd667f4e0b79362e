/** A server that notifies users: for ever, for a time, or in the place of what it said before. */
import { type History, hashOf } from '../history.js'
import type { Chance } from './chance.js'
import { type PushOutcome, pushOnce } from './http.js'
import { recordSend } from './message.js'
import { isAnswered, Rounds } from './rounds.js'
import type { Target } from './target.js'

export const feedOf = (user: string): string => `feed:${user}`
const MOST_USERS = 3
/** Over before the run is, and long after it. */
const TTLS = { short: 2, long: 86_400 } as const
/** Was it meant for some seconds only? */
export const isShort = ({ ttl }: { ttl?: number }): boolean => ttl !== undefined && ttl <= TTLS.short
const COLLAPSE_KEYS = ['score', 'price'] as const

export interface Push {
  users: readonly string[]
  clientId: string
  content: string
  ttl?: number
  collapseKey?: string
}

export interface PusherOptions {
  name: string
  target: Target
  /** The service token, and the name that stands before what it pushes. */
  service: { token: string; from: string }
  history: History
  chance: Chance
  users: readonly string[]
  /** Text that belongs to this user's feed alone. */
  canaryOf(user: string): string
  everyMs: number
}

export class Pusher {
  /** Accepted pushes in their order, each of one user: so each is known by its user's text. */
  readonly accepted: { user: string; push: Push }[] = []
  readonly #rounds: Rounds
  #made = 0

  constructor(private readonly options: PusherOptions) {
    this.#rounds = new Rounds(options.chance)
  }

  start(): void {
    this.#rounds.start(this.options.everyMs, () => this.deliver(this.#next()))
  }

  finish(withinMs: number): Promise<void> {
    return this.#rounds.finish(withinMs)
  }

  /** One for ever. */
  push(user: string): Promise<void> {
    return this.deliver(this.#said([user]))
  }

  /** Until it is answered for each user; to those for whom it is not it goes again under its key. */
  async deliver(push: Push): Promise<void> {
    const { target, service } = this.options
    let open = [...push.users]
    await this.#rounds.untilAnswered(async (attempt) => {
      for (const user of open) this.#record(user, push)
      const base = target.apis[(this.#made + attempt) % target.apis.length]!
      const outcomes = await pushOnce(base, service.token, push, open)
      for (const [i, user] of open.entries()) {
        const outcome = outcomes[i]!
        this.#record(user, push, outcome)
        if (outcome.type === 'ok') this.accepted.push({ user, push })
      }
      open = open.filter((_, i) => !isAnswered(outcomes[i]!))
      return open.length === 0
    })
  }

  #next(): Push {
    const { chance } = this.options
    const users = chance.shuffled(this.options.users).slice(0, chance.between(1, MOST_USERS))
    const said = this.#said(users)
    const drawn = chance.next()
    if (drawn < 0.35) return said
    if (drawn < 0.5) return { ...said, ttl: TTLS.short }
    if (drawn < 0.65) return { ...said, ttl: TTLS.long }
    return { ...said, collapseKey: chance.pick(COLLAPSE_KEYS) }
  }

  #said(users: readonly string[]): Push {
    const { chance, name, canaryOf } = this.options
    const clientId = `${name}-${++this.#made}`
    // One user's text is looked for with everybody else, so what goes to several says nothing that is anybody's own.
    const canary = users.length === 1 ? canaryOf(users[0]!) : ''
    const content = JSON.stringify({ canary, clientId, text: 'z'.repeat(chance.between(10, 200)) })
    return { users, clientId, content }
  }

  #record(user: string, { ttl, collapseKey, clientId, content }: Push, outcome?: PushOutcome): void {
    const { history, name, service } = this.options
    const sent = { conv: feedOf(user), from: service.from, clientId, bodyHash: hashOf(content) }
    recordSend(history, name, sent, outcome, {
      what: 'push',
      ...(ttl !== undefined && { ttl }),
      ...(collapseKey !== undefined && { collapseKey }),
    })
  }
}
