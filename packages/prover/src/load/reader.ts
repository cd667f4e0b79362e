/** Pages histories all the while, faults or not: what is answered must be whole, and a stranger must be told nothing. */
import type { PageLine } from '../check/order.js'
import type { History } from '../history.js'
import { pause } from '../until.js'
import type { Chance } from './chance.js'
import type { Conversation } from './conversations.js'
import { readPage } from './http.js'
import type { Target } from './target.js'

const EVERY_MS = 300
const LIMIT = 100
const AS_A_STRANGER = 0.1

/** @returns its end */
export function startReader(deps: {
  target: Target
  history: History
  chance: Chance
  conversations: readonly Conversation[]
  strangers: readonly string[]
}): () => Promise<void> {
  const { target, history, chance, conversations, strangers } = deps
  let stopped = false
  const heads = new Map<string, number>()

  async function readOnce(): Promise<void> {
    const { conv, users } = chance.pick(conversations)
    const user = chance.next() < AS_A_STRANGER ? chance.pick(strangers) : chance.pick(users)
    const after = chance.next() < 0.3 ? 0 : chance.between(0, heads.get(conv) ?? 0)
    await readAsOne({ target, history, user, conv, after, base: chance.pick(target.apis), heads })
  }

  const running = (async () => {
    while (!stopped) {
      await readOnce()
      await pause(chance.between(EVERY_MS / 2, EVERY_MS * 1.5))
    }
  })()
  return async () => {
    stopped = true
    await running
  }
}

/** One page, and what it claims. @returns whether there was an answer */
export async function readAsOne(deps: {
  target: Target
  history: Pick<History, 'record'>
  user: string
  conv: string
  after: number
  base: string
  heads?: Map<string, number>
}): Promise<boolean> {
  const { target, history, user, conv, after, base, heads } = deps
  const invokedAt = Math.round(performance.now() * 1_000) / 1_000
  const page = await readPage(base, target.token(user), conv, after, LIMIT)
  // Refused, or away: both are honest.
  if (typeof page === 'number') return false
  heads?.set(conv, page.head)
  const data: PageLine = {
    after,
    limit: LIMIT,
    complete: page.complete,
    head: page.head,
    seqs: page.messages.map(({ seq }) => seq),
    voids: page.void,
    invokedAt,
  }
  history.record({ proc: 'reader', user, type: 'ok', f: 'page', conv, data })
  return true
}
