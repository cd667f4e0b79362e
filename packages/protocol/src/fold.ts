/**
 * What later entries have made of an entry: its fold. Redis keeps it beside the conversation's log, MySQL in the entry's own row, and
 * every reader shows the entry through it. It is plain text, a fact per line, so that it reads well in redis-cli:
 *
 *     last <seq> <id> <sentAt> <stream id>          the newest change of the entry
 *     edited <seq> <sentAt>                         the edit that counts
 *     gone <as> <seq> <sentAt> <by>                 it is a stub now, shown as of the type <as>, and whose act that was
 *     react <emoji> <user> <user> …                 who reacted, in their order
 *
 * and, behind an empty line, the content that counts, where it was edited. append.lua does the same to the text as `applyChange` here.
 */
import { bareChange, type Change, targetOf } from './changes.js'
import type { Entry } from './entry.js'

/** Names that are shown with the reactions of an entry; the counts are exact. */
const MOST_NAMES = 200

export interface Fold {
  last: { seq: number; id: string; sentAt: number; streamId: string }
  edited?: { seq: number; sentAt: number }
  gone?: { as: string; seq: number; sentAt: number; by: string }
  /** Users by what they reacted with. */
  reactions: ReadonlyMap<string, readonly string[]>
  /** Raw JSON text. MySQL has it in the row's content. */
  content?: string
}

/** @param text as Redis or MySQL keeps it. What is not known is passed over. */
export function parseFold(text: string): Fold {
  const end = text.indexOf('\n\n')
  const fold: Fold & { reactions: Map<string, string[]> } = {
    last: { seq: 0, id: '0', sentAt: 0, streamId: '0-0' },
    reactions: new Map(),
  }
  for (const line of (end === -1 ? text : text.slice(0, end)).split('\n')) {
    const [what, ...words] = line.split(' ')
    const [first = '', second = '', third = '', fourth = ''] = words
    if (what === 'last') fold.last = { seq: Number(first), id: second, sentAt: Number(third), streamId: fourth }
    else if (what === 'edited') fold.edited = { seq: Number(first), sentAt: Number(second) }
    else if (what === 'gone') fold.gone = { as: first, seq: Number(second), sentAt: Number(third), by: fourth }
    else if (what === 'react') fold.reactions.set(first, words.slice(1))
  }
  if (end !== -1) fold.content = text.slice(end + 2)
  return fold
}

/** The facts, without the content. */
export function foldFacts({ last, edited, gone, reactions }: Fold): string {
  const lines = [`last ${last.seq} ${last.id} ${last.sentAt} ${last.streamId}`]
  if (edited) lines.push(`edited ${edited.seq} ${edited.sentAt}`)
  if (gone) lines.push(`gone ${gone.as} ${gone.seq} ${gone.sentAt} ${gone.by}`)
  for (const [emoji, users] of reactions) lines.push(`react ${emoji} ${users.join(' ')}`)
  return lines.join('\n')
}

export const foldText = (fold: Fold): string =>
  fold.content === undefined ? foldFacts(fold) : `${foldFacts(fold)}\n\n${fold.content}`

/** What is gone stays gone; an older edit does not undo a newer one. @param entry that of the change */
export function applyChange(
  fold: Fold | undefined,
  { seq, id, sentAt, from }: Pick<Entry, 'seq' | 'id' | 'sentAt' | 'from'>,
  change: Change,
): Fold {
  const last = !fold || seq > fold.last.seq ? { seq, id, sentAt, streamId: '0-0' } : fold.last
  const next: Fold = { reactions: new Map(), ...fold, last }
  if (fold?.gone) return next
  switch (change.type) {
    case 'recall':
      return { last, gone: { as: 'recalled', seq, sentAt, by: from }, reactions: new Map() }
    case 'collapse':
      return { last, gone: { as: 'collapsed', seq, sentAt, by: '' }, reactions: new Map() }
    case 'edit':
      if (change.content === undefined || (fold?.edited?.seq ?? 0) > seq) return next
      return { ...next, edited: { seq, sentAt }, content: change.content }
    case 'reaction':
      return { ...next, reactions: reacted(next.reactions, from, change.emoji, change.action) }
  }
}

function reacted(
  reactions: ReadonlyMap<string, readonly string[]>,
  user: string,
  emoji: string,
  action: 'add' | 'remove',
): Map<string, readonly string[]> {
  const next = new Map(reactions)
  const others = (next.get(emoji) ?? []).filter((one) => one !== user)
  if (action === 'add') next.set(emoji, next.get(emoji)?.includes(user) ? next.get(emoji)! : [...others, user])
  else if (others.length > 0) next.set(emoji, others)
  else next.delete(emoji)
  return next
}

/** The entry as readers see it; what is gone does not come back. @param fold of the entry; for an edit, that of its target */
export function folded(entry: Entry, fold: Fold): Entry {
  if (entry.content === '' && !fold.gone) return entry
  const target = targetOf(entry)
  if (target) {
    const counts = entry.type !== 'edit' || (!fold.gone && fold.edited?.seq === entry.seq)
    return counts ? entry : { ...entry, content: bareChange(target) }
  }
  const { gone, edited, reactions, content } = fold
  if (gone) {
    const extra = `"${gone.as}At":${gone.sentAt}${gone.by === '' ? '' : `,"${gone.as}By":"${gone.by}"`}`
    return { ...entry, type: gone.as, content: '', extra }
  }
  const extra = [
    ...(edited ? [`"editedAt":${edited.sentAt}`] : []),
    ...(reactions.size > 0 ? [`"reactions":${reactionsJson(reactions)}`] : []),
  ]
  return { ...entry, content: (edited && content) ?? entry.content, extra: extra.join(',') }
}

function reactionsJson(reactions: ReadonlyMap<string, readonly string[]>): string {
  let left = MOST_NAMES
  const each = [...reactions].map(([emoji, users]) => {
    const named = users.slice(0, left)
    left -= named.length
    return `${JSON.stringify(emoji)}:{"count":${users.length},"users":${JSON.stringify(named)}}`
  })
  return `{${each.join(',')}}`
}
