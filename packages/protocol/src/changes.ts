/**
 * Entries that change entries: what an `edit`, a `recall` and a `reaction` say. Their content names the entry that they are about, its
 * target; that of an edit carries the new content as the very text that its sender wrote.
 */
import type { Entry } from './entry.js'
import { AppError } from './errors.js'
import { CUSTOM_TYPE, MAX_CONTENT_BYTES, MAX_CONTENT_DEPTH, SENDABLE_TYPES } from './ids.js'
import { rawMembers } from './json.js'
import { parseOptions } from './options.js'

const MAX_EMOJI_BYTES = 64
/** An edit's content, with what stands around the new one. */
export const MAX_EDIT_BYTES = MAX_CONTENT_BYTES + 128

/** The entry that a change is about. */
export interface Target {
  id: string
  seq: number
}

export type Change = Target &
  (
    | {
        type: 'edit'
        /** Raw JSON text; undefined when a later change has taken it back. */
        content: string | undefined
      }
    | { type: 'recall' }
    /** By what was pushed later with the same key. Its entry is a message of its own. */
    | { type: 'collapse' }
    | { type: 'reaction'; emoji: string; action: 'add' | 'remove' }
  )

export const isChange = (type: string): boolean => type === 'edit' || type === 'recall' || type === 'reaction'

/** May entries of this type be changed? Those that a person sends. */
export const isChangeable = (type: string): boolean => SENDABLE_TYPES.has(type) || CUSTOM_TYPE.test(type)

/** What a change says of its target and nothing else: all that stays of an edit that was taken back. */
export const bareChange = ({ id, seq }: Target): string => `{"target":"${id}","seq":${seq}}`

/** The content of the entry of a change. */
export function changeContent(change: Change): string {
  const begin = bareChange(change).slice(0, -1)
  switch (change.type) {
    case 'edit':
      return change.content === undefined ? `${begin}}` : `${begin},"content":${change.content}}`
    case 'recall':
    case 'collapse':
      return `${begin}}`
    case 'reaction':
      return `${begin},"emoji":${JSON.stringify(change.emoji)},"action":"${change.action}"}`
  }
}

/** How many characters, all ASCII, stand before the new content in the content of an edit. */
export const beforeEdited = (target: Target): number => bareChange(target).length - 1 + ',"content":'.length

const TARGET = /^\{"target":"([1-9]\d{0,18})","seq":([1-9]\d{0,15})[,}]/

/** @returns the target of an entry as we made it; undefined for one that is no change, or was written by hand */
export function targetOf({ type, content }: Pick<Entry, 'type' | 'content'>): Target | undefined {
  if (!isChange(type)) return undefined
  const match = TARGET.exec(content)
  const seq = Number(match?.[2])
  return match && Number.isSafeInteger(seq) ? { id: match[1]!, seq } : undefined
}

/** May an entry change others? */
export const mayChange = ({ type, options }: Pick<Entry, 'type' | 'options'>): boolean =>
  isChange(type) || (options !== undefined && options !== '')

/** @returns the change that an entry makes; undefined for one that is no change, or was written by hand and says nothing */
export function changeOf(entry: Pick<Entry, 'type' | 'content' | 'options'>): Change | undefined {
  const collapses = entry.options ? parseOptions(entry.options)?.collapses : undefined
  if (collapses !== undefined) return { type: 'collapse', id: '0', seq: collapses }
  const target = targetOf(entry)
  if (!target) return undefined
  try {
    const members = rawMembers(entry.content, MAX_CONTENT_DEPTH + 1)
    if (entry.type === 'edit') return { type: 'edit', ...target, content: members.get('content') }
    if (entry.type === 'recall') return { type: 'recall', ...target }
    const emoji = requireEmoji(JSON.parse(members.get('emoji') ?? 'null'))
    const action = JSON.parse(members.get('action') ?? 'null') as unknown
    return action === 'add' || action === 'remove' ? { type: 'reaction', ...target, emoji, action } : undefined
  } catch (error) {
    if (error instanceof AppError || error instanceof SyntaxError) return undefined
    throw error
  }
}

/**
 * No blanks, no control characters, nothing invisible but what joins emojis or chooses how one looks, and nothing that is markup or
 * part of a path to whoever puts it into a page or a URL.
 */
const EMOJI = /^(?:[^<>/\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Z}]|\u200d|[\u{e0020}-\u{e007f}])+$/u

/** What somebody reacts with. @throws AppError `invalid_request` */
export function requireEmoji(value: unknown): string {
  if (typeof value === 'string' && Buffer.byteLength(value) <= MAX_EMOJI_BYTES && EMOJI.test(value)) return value
  throw new AppError('invalid_request', 'An emoji has 1 to 64 bytes, without blanks, control characters, <, > and /.')
}

const REPLY_ID = /^[1-9]\d{0,18}$/

/**
 * A message that answers another one names it in its content, as `replyTo`.
 * @param content of a message, whose inside is checked
 * @throws AppError `invalid_content` when it is not the id of a message
 */
export function checkReply(content: string): void {
  // Most contents do not have the word, and nothing that may stand for a letter of it.
  if (!content.includes('"replyTo"') && !content.includes('\\u')) return
  const raw = rawMembers(content).get('replyTo')
  if (raw === undefined) return
  const id = JSON.parse(raw) as unknown
  if (typeof id !== 'string' || !REPLY_ID.test(id))
    throw new AppError('invalid_content', 'replyTo is the id of a message: a string of digits.')
}
