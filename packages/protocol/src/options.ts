/** What a server may ask for when it pushes something: until when it counts, and how much it matters. */
import type { Entry } from './entry.js'
import { CLIENT_ID } from './ids.js'

export const PRIORITIES = ['normal', 'high'] as const
export type Priority = (typeof PRIORITIES)[number]

/** A notification may count for so many seconds at most. */
export const MAX_TTL_S = 30 * 24 * 60 * 60

export interface EntryOptions {
  /** Milliseconds since 1970. From then on nobody is shown what it said. */
  expiresAt?: number
  /** Left out where it is `normal`. */
  priority?: 'high'
  /** What the same server pushes here later with this key takes its place. */
  collapseKey?: string
  /** The seq of the entry whose place it has taken: that one is a stub from now on. append.lua finds it. */
  collapses?: number
}

/** @returns the text that travels with an entry; undefined where nothing is asked for, as with nearly all entries */
export function optionsText({ expiresAt, priority, collapseKey, collapses }: EntryOptions): string | undefined {
  const text = JSON.stringify({ expiresAt, priority, collapseKey, collapses })
  return text === '{}' ? undefined : text
}

/** @returns what a text asks for; undefined when it is not as `optionsText` writes it */
export function parseOptions(text: string): EntryOptions | undefined {
  let parsed: EntryOptions
  try {
    parsed = JSON.parse(text) as EntryOptions
    // Anything else in it would be a text of another kind.
    if (optionsText(parsed) !== text) return undefined
  } catch {
    return undefined
  }
  const { expiresAt, priority, collapseKey, collapses } = parsed
  const isCount = (value: unknown): boolean => value === undefined || (Number.isSafeInteger(value) && Number(value) > 0)
  if (!isCount(expiresAt) || !isCount(collapses)) return undefined
  if (priority !== undefined && priority !== 'high') return undefined
  if (collapseKey !== undefined && !(typeof collapseKey === 'string' && CLIENT_ID.test(collapseKey))) return undefined
  return collapses === undefined || collapseKey !== undefined ? parsed : undefined
}

/** Until when an entry may be shown, in milliseconds since 1970; undefined for nearly all: for ever. */
export const expiryOf = ({ options }: Pick<Entry, 'options'>): number | undefined =>
  options ? parseOptions(options)?.expiresAt : undefined

/**
 * Is a frame of it good for the moment only? What is shown later is read again, for then its time may be over, or another entry may have
 * taken its place.
 */
export function isFleeting({ options }: Pick<Entry, 'options'>): boolean {
  if (!options) return false
  const { expiresAt, collapseKey } = parseOptions(options) ?? {}
  return expiresAt !== undefined || collapseKey !== undefined
}

/** Is it too late to show what the entry says? @param now milliseconds since 1970 */
export function isExpired(entry: Pick<Entry, 'options'>, now: number): boolean {
  const expiresAt = expiryOf(entry)
  return expiresAt !== undefined && now >= expiresAt
}

/**
 * The entry as somebody may be shown it now: whose time is over, as a stub that says so.
 * @param now milliseconds since 1970; by default the time, which is asked for only where it matters
 */
export function seenNow(entry: Entry, now?: number): Entry {
  if (!entry.options || !isExpired(entry, now ?? Date.now())) return entry
  return expiredStub(entry)
}

/** What is left of an entry whose time is over. */
export const expiredStub = ({
  id,
  conversation,
  seq,
  n,
  from,
  sentAt,
  trace,
}: Pick<Entry, 'id' | 'conversation' | 'seq' | 'n' | 'from' | 'sentAt' | 'trace'>): Entry => ({
  ...{ id, conversation, seq, n, from, sentAt, trace },
  type: 'expired',
  content: '',
  clientId: '',
})
