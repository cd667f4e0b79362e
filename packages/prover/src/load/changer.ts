/** Somebody who changes what was said: edits, recalls, reactions, and now and then what must be refused. */
import { type History, hashOf } from '../history.js'
import type { Chance } from './chance.js'
import type { Conversation } from './conversations.js'
import { changeOne } from './http.js'
import { type Message, type Outcome, recordSend } from './message.js'
import { isAnswered, Rounds } from './rounds.js'
import type { Kept } from './sender.js'
import { reactionHash } from './shown.js'
import type { Target } from './target.js'

const EMOJIS = ['👍', '❤️', ':party:'] as const
/** What was said lately is changed; some of it is not stored yet. */
const AMONG_LAST = 40

export interface Change {
  conv: string
  from: string
  clientId: string
  what: 'edit' | 'recall' | 'add' | 'remove'
  target: Message
  /** As its sender was told it. After a lost tail it has another one. */
  targetId: string
  /** The new text, of an edit. */
  content?: string
  /** Of a reaction. */
  emoji?: string
  /** Of what it says. */
  bodyHash: string
  forbidden?: true
}

/** What a changer wants, before it has a name. */
type Wish = Pick<Change, 'from' | 'what' | 'target' | 'targetId'> & Partial<Pick<Change, 'emoji' | 'forbidden'>>

/** What is asked for once only: a second time it would be answered with the first, and have no entry of its own. */
export class Done {
  readonly recalled = new Set<Message>()
  readonly #reacted = new Set<string>()

  /** @returns whether it is the first time */
  reacts(name: string): boolean {
    const isNew = !this.#reacted.has(name)
    this.#reacted.add(name)
    return isNew
  }
}

export interface ChangerOptions {
  name: string
  target: Target
  history: History
  chance: Chance
  conversations: readonly Conversation[]
  /** Some who have no business in any of the conversations. */
  strangers: readonly string[]
  /** Messages that were accepted, by their senders. */
  accepted(): readonly (readonly Kept[])[]
  /** What changers of the same messages share. */
  done: Done
  everyMs: number
}

export class Changer {
  /** Accepted changes in their order. */
  readonly accepted: Change[] = []
  readonly #rounds: Rounds
  #made = 0

  constructor(private readonly options: ChangerOptions) {
    this.#rounds = new Rounds(options.chance)
  }

  start(): void {
    this.#rounds.start(this.options.everyMs, async () => {
      const kept = this.#anyOf()
      const wish = kept && this.#wish(kept)
      if (wish) await this.deliver(this.#named(wish))
    })
  }

  finish(withinMs: number): Promise<void> {
    return this.#rounds.finish(withinMs)
  }

  /** Until it is answered. @param id of the target, where it is another by now */
  async deliver(change: Change, id = change.targetId): Promise<void> {
    const { target } = this.options
    await this.#rounds.untilAnswered(async (attempt) => {
      this.#record(change)
      const base = target.apis[(this.#made + attempt) % target.apis.length]!
      const outcome = await changeOne(base, target.token(change.from), id, change)
      this.#record(change, outcome)
      if (outcome.type === 'ok' && !this.accepted.includes(change)) this.accepted.push(change)
      return isAnswered(outcome)
    })
  }

  /** An edit of the first, a recall of the second, a reaction to the third. */
  async alter([first, second, third]: readonly Kept[]): Promise<void> {
    const about = ({ message, id }: Kept) => ({ from: message.from, target: message, targetId: id })
    if (first) await this.deliver(this.#named({ ...about(first), what: 'edit' }))
    if (second) {
      this.options.done.recalled.add(second.message)
      await this.deliver(this.#named({ ...about(second), what: 'recall' }))
    }
    const reaction = third && this.#reaction(about(third), third.message.from, EMOJIS[0])
    if (reaction) await this.deliver(this.#named(reaction))
  }

  #anyOf(): Kept | undefined {
    const { chance } = this.options
    const some = this.options.accepted().filter((kept) => kept.length > 0)
    if (some.length === 0) return undefined
    const kept = chance.pick(some)
    return kept[chance.between(Math.max(kept.length - AMONG_LAST, 0), kept.length - 1)]
  }

  /** @returns undefined when this message does not take what chance has drawn */
  #wish({ message, id }: Kept): Wish | undefined {
    const { chance, conversations, strangers, done } = this.options
    const users = conversations.find(({ conv }) => conv === message.conv)!.users
    const about = { target: message, targetId: id }
    const own = { from: message.from, ...about }
    const drawn = chance.next()
    if (drawn < 0.4) return { ...own, what: 'edit' }
    if (drawn < 0.65) return this.#reaction(about, chance.pick(users), chance.pick(EMOJIS))
    if (drawn < 0.75) return this.#takenBack()
    if (drawn < 0.9) {
      if (done.recalled.has(message)) return { ...own, what: 'edit' }
      done.recalled.add(message)
      return { ...own, what: 'recall' }
    }
    const other = users.find((user) => user !== message.from)!
    if (drawn < 0.95) return { from: other, ...about, what: 'edit', forbidden: true }
    return { from: chance.pick([...strangers, other]), ...about, what: 'recall', forbidden: true }
  }

  #reaction(about: Pick<Change, 'target' | 'targetId'>, from: string, emoji: string): Wish | undefined {
    const { target } = about
    const isNew = this.options.done.reacts(`${target.from} ${target.clientId} ${from} ${emoji}`)
    return isNew ? { from, ...about, what: 'add', emoji } : undefined
  }

  #takenBack(): Wish | undefined {
    const { chance, done } = this.options
    const added = this.accepted.filter(({ what }) => what === 'add')
    if (added.length === 0) return undefined
    const { from, target, targetId, emoji, clientId } = chance.pick(added)
    // What hung on a message goes with it.
    if (done.recalled.has(target) || !done.reacts(`${clientId} back`)) return undefined
    return { from, target, targetId, what: 'remove', emoji: emoji! }
  }

  #named(wish: Wish): Change {
    const { conv } = wish.target
    const clientId = `${this.options.name}-${++this.#made}`
    if (wish.what === 'edit') {
      const { canary } = this.options.conversations.find((one) => one.conv === conv)!
      const content = JSON.stringify({ canary, clientId, text: 'y'.repeat(this.options.chance.between(10, 400)) })
      return { ...wish, conv, clientId, content, bodyHash: hashOf(content) }
    }
    const bodyHash = wish.what === 'recall' ? '' : reactionHash(wish.what, wish.emoji!)
    return { ...wish, conv, clientId, bodyHash }
  }

  #record(change: Change, outcome?: Outcome): void {
    const { what, target, emoji, forbidden } = change
    recordSend(this.options.history, this.options.name, change, outcome, {
      what,
      target: { from: target.from, clientId: target.clientId },
      ...(emoji !== undefined && { emoji }),
      ...(forbidden && { forbidden }),
    })
  }
}
