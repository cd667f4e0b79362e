/** May this sender write here? Logic's answers, kept for a while, so that sending goes on while logic or MySQL is away. */
import { AppError, parseConversation } from '@tidings/protocol'
import { LRUCache } from 'lru-cache'

const MAX_KEPT = 50_000
/** How long an answer that could not be renewed is still believed. */
const STALE_MS = 600_000

/** Asks logic. @throws AppError when the answer is no */
export type AskPermit = (user: string, conversation: string) => Promise<{ ttlMs: number }>

interface Kept {
  /** performance.now() until which it needs no renewal. */
  freshUntil: number
}

export interface Permits {
  /** @throws AppError `user_not_found`, `forbidden`, `conversation_not_found`; `unavailable` when nobody can answer */
  check(user: string, conversation: string): Kept | Promise<Kept>
  /** It was found to be wrong: it is asked for again, also where an answer is on its way. */
  forget(user: string, conversation: string): void
  /** These users may not act any more: neither they write, nor anybody to them. Looks through all that is kept. */
  forgetUsers(users: ReadonlySet<string>): void
}

export function createPermits(ask: AskPermit): Permits {
  const kept = new LRUCache<string, Kept>({ max: MAX_KEPT })
  const asking = new Map<string, Promise<Kept>>()
  /** Forgotten while logic was asked: its answer may be older than the reason. */
  const outdated = new Set<string>()

  async function renew(key: string, user: string, conversation: string): Promise<Kept> {
    try {
      for (;;) {
        outdated.delete(key)
        const { ttlMs } = await ask(user, conversation)
        if (outdated.has(key)) continue
        const permit = { freshUntil: performance.now() + ttlMs }
        kept.set(key, permit)
        return permit
      }
    } catch (error) {
      const old = kept.get(key)
      const away = error instanceof AppError && error.code === 'unavailable'
      if (away && old && performance.now() < old.freshUntil + STALE_MS) return old
      if (!away) kept.delete(key)
      throw error
    } finally {
      asking.delete(key)
      outdated.delete(key)
    }
  }

  function forget(key: string): void {
    kept.delete(key)
    if (asking.has(key)) outdated.add(key)
  }

  function concerns(key: string, users: ReadonlySet<string>): boolean {
    const end = key.indexOf(' ')
    if (users.has(key.slice(0, end))) return true
    const conversation = parseConversation(key.slice(end + 1))
    return conversation?.kind === 'dm' && conversation.users.some((user) => users.has(user))
  }

  return {
    check(user, conversation) {
      const key = `${user} ${conversation}`
      const permit = kept.get(key)
      if (permit && performance.now() < permit.freshUntil) return permit
      let asked = asking.get(key)
      if (!asked) {
        asked = renew(key, user, conversation)
        asking.set(key, asked)
      }
      return asked
    },
    forget: (user, conversation) => forget(`${user} ${conversation}`),
    forgetUsers(users) {
      for (const key of new Set([...kept.keys(), ...asking.keys()])) if (concerns(key, users)) forget(key)
    },
  }
}
