/** What a place shows of an entry, as the history tells it: a message as it is by now, a change, a stub. */
import { hashOf } from '../history.js'

/** What a line of `app`, `recv` or `read` carries beside the entry, where that is no plain text. */
export interface ShownLine {
  /** Of the entry, or what has become of it: `recalled`, `expired`, `collapsed`. */
  type: string
  /** The seq of the entry that it changes. */
  target?: number
  /** Users by what they reacted with. */
  reactions?: Record<string, string[]>
  /** Milliseconds since 1970. */
  expiresAt?: number
  /** When the reader was told this, by the wall clock. */
  readAt?: number
}

/** An entry as frames and histories have it. */
export interface ShownEntry {
  type?: string
  content?: unknown
  reactions?: Record<string, { users: string[] }>
  expiresAt?: number
}

interface ChangeContent {
  seq?: number
  content?: unknown
  emoji?: string
  action?: string
}

export const reactionHash = (action: string, emoji: string): string => hashOf(`${action} ${emoji}`)

/** @returns what a line says of it: the hash of its text, '' where there is none, and what else there is to it */
export function shownOf(entry: ShownEntry): { bodyHash: string; data?: ShownLine } {
  const { type = 'text', content, reactions, expiresAt } = entry
  const change = type === 'edit' || type === 'recall' || type === 'reaction' ? (content as ChangeContent) : undefined
  const data: ShownLine = {
    type,
    ...(change && { target: Number(change.seq) }),
    ...(reactions && {
      reactions: Object.fromEntries(Object.entries(reactions).map(([emoji, { users }]) => [emoji, users])),
    }),
    ...(expiresAt !== undefined && { expiresAt, readAt: Date.now() }),
  }
  const bodyHash = hashOfShown(type, content, change)
  return type === 'text' && Object.keys(data).length === 1 ? { bodyHash } : { bodyHash, data }
}

function hashOfShown(type: string, content: unknown, change: ChangeContent | undefined): string {
  if (type === 'reaction') return reactionHash(change?.action ?? '', change?.emoji ?? '')
  // A recall says nothing but what it is about; an edit has a text as long as it counts.
  const text = change ? change.content : content
  return text === undefined ? '' : hashOf(JSON.stringify(text))
}
