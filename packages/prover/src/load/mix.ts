/** What happens beside messages: changes of what was said, and pushes to the users who talk. A few a second. */
import type { History } from '../history.js'
import type { Chance } from './chance.js'
import { chanceOf } from './chance.js'
import { Changer, Done } from './changer.js'
import type { Conversation } from './conversations.js'
import { feedOf, isShort, Pusher } from './pusher.js'
import type { Kept } from './sender.js'
import type { Target } from './target.js'
import type { There } from './there.js'

/** Two, so that changes of one message race. */
const CHANGERS = 2
/** The rest are changes. */
const PUSHES_AMONG = 1 / 3

export interface MixOptions {
  target: Target
  history: History
  chance: Chance
  name: string
  conversations: readonly Conversation[]
  users: readonly string[]
  strangers: readonly string[]
  /** Canary of each user's feed. */
  canaries: ReadonlyMap<string, string>
  accepted(): readonly (readonly Kept[])[]
  /** Changes and pushes a second. */
  rate: number
}

export interface Mix {
  start(): void
  finish(withinMs: number): Promise<void>
  /** An edit, a recall and a reaction of the first three, and a push to the sender of the first: each repeated until it is accepted. */
  alter(kept: readonly Kept[]): Promise<void>
  /** After a lost tail, when the messages are there again: what was accepted and is not there is asked for again. @returns how many */
  sendAgain(there: ReadonlyMap<string, There>): Promise<number>
}

export function makeMix(options: MixOptions): Mix {
  const { target, history, chance, name, users, canaries, rate } = options
  const { service } = target
  const own = (): Chance => chanceOf(chance.between(0, 2 ** 31))
  const changes = service ? rate * (1 - PUSHES_AMONG) : rate
  const done = new Done()
  const changers = Array.from(
    { length: CHANGERS },
    (_, i) =>
      new Changer({ ...options, done, name: `${name}-c${i}`, chance: own(), everyMs: (1_000 * CHANGERS) / changes }),
  )
  const pushers = service
    ? [
        new Pusher({
          name: `${name}-n`,
          target,
          service,
          history,
          chance: own(),
          users,
          canaryOf: (user) => canaries.get(feedOf(user))!,
          everyMs: 1_000 / (rate * PUSHES_AMONG),
        }),
      ]
    : []
  const all = [...changers, ...pushers]

  return {
    start() {
      for (const one of all) one.start()
    },
    async finish(withinMs) {
      await Promise.all(all.map((one) => one.finish(withinMs)))
    },
    async alter(kept) {
      await changers[0]!.alter(kept)
      if (kept[0]) await pushers[0]?.push(kept[0].message.from)
    },
    async sendAgain(there) {
      const isThere = (conv: string, from: string, clientId: string): boolean =>
        there.get(conv)?.has(`${from} ${clientId}`) ?? true
      let count = 0
      for (const changer of changers)
        for (const change of [...changer.accepted]) {
          const { conv, from, clientId, target: message } = change
          const id = there.get(conv)?.get(`${message.from} ${message.clientId}`)
          if (id === undefined || isThere(conv, from, clientId)) continue
          await changer.deliver(change, id)
          count++
        }
      for (const pusher of pushers)
        for (const { user, push } of [...pusher.accepted]) {
          // What was for seconds is over, and its stub does not tell its key.
          if (isShort(push) || isThere(feedOf(user), service!.from, push.clientId)) continue
          await pusher.deliver({ ...push, users: [user] })
          count++
        }
      return count
    },
  }
}
