/** Who talks to whom, and who is told what. */
import type { Chance } from './chance.js'
import { feedOf } from './pusher.js'

export interface Conversation {
  conv: string
  /** Only probes and faults send here: nothing that comes later covers up for what was lost. */
  quiet: boolean
  users: readonly [string, string]
  canary: string
}

/** What servers tell one user. */
export interface Feed {
  conv: string
  users: readonly [string]
  canary: string
}

/** A ring: user i talks to user i + 1, so that each is in two conversations. */
export function makeConversations(name: string, conversations: number, chance: Chance): Conversation[] {
  const count = Math.max(conversations, 3)
  return Array.from({ length: conversations }, (_, i) => {
    const users = [`${name}-u${i}`, `${name}-u${(i + 1) % count}`] as const
    const [first, second] = [...users].sort() as [string, string]
    const canary = canaryFrom(chance)
    return { conv: `dm:${first}:${second}`, quiet: i === conversations - 1, users, canary }
  })
}

export const feedFor = (user: string, chance: Chance): Feed => ({
  conv: feedOf(user),
  users: [user],
  canary: canaryFrom(chance),
})

const canaryFrom = (chance: Chance): string =>
  `canary-${Array.from({ length: 12 }, () => chance.between(0, 15).toString(16)).join('')}`
