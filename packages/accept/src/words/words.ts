/** The word filter: what becomes of a message with a word of the list in it. Messages without one are passed on as they are. */
import { CUSTOM_TYPE, isRoom } from '@tidings/protocol'
import type { Draft } from '../types.js'
import type { Action, Automaton, Visit } from './automaton.js'
import { countVisible, fold } from './fold.js'
import type { ReadyWords } from './list.js'
import { type Found, stringsOf } from './strings.js'

/** Words that are told of one message. */
const MAX_TOLD = 10
/** What is masked may, with what stands around it, be a word again; so often it is looked at anew. */
const MAX_PASSES = 4
/** Of an image or a file, what people read; what it refers to is not looked into. */
const READ_OF_FILES: ReadonlySet<string> = new Set(['text', 'name', 'caption', 'alt'])
/** Of everything else, what is no text: ids, addresses, media types. */
const REFERENCES: ReadonlySet<string> = new Set(['replyTo', 'url', 'file', 'thumbnail', 'mediaType'])

/** What the filter says to a message. */
export interface Verdict {
  /** The content that may be accepted. */
  readonly content: string
  /** The message must not be accepted. */
  readonly rejected: boolean
  /** Words that let it pass, but that an operator wants to know of, as the list has them. */
  readonly flagged: readonly string[]
}

/** What of a message is looked at. */
export type Looked = Pick<Draft, 'conversation' | 'type' | 'content'>

/** Where people read in a content. */
interface Places {
  wanted(member: string): boolean
  /** Of the objects whose members are meant: 1 is the content itself. */
  level: number
}

const OF_FILES: Places = { wanted: (member) => READ_OF_FILES.has(member), level: 1 }
const OF_TEXTS: Places = { wanted: (member) => member !== 'replyTo', level: 1 }
/** The new content is a member of an edit's. What it is an edit of is not known here, so it is treated as either. */
const OF_EDITS: Places = { wanted: (member) => !REFERENCES.has(member), level: 2 }

/** @returns undefined for entries that nobody has written by hand: of the system, recalls, reactions */
function placesIn(type: string): Places | undefined {
  if (type === 'text' || CUSTOM_TYPE.test(type)) return OF_TEXTS
  if (type === 'image' || type === 'file') return OF_FILES
  return type === 'edit' ? OF_EDITS : undefined
}

/**
 * Looks for words in the strings of a message.
 * @returns undefined when there are none
 */
export function examine(list: ReadyWords, draft: Looked): Verdict | undefined {
  const room = isRoom(draft.conversation) ? list.rooms.get(draft.conversation.slice('room:'.length)) : undefined
  const places = placesIn(draft.type)
  if (room?.off || !places) return undefined
  const automata = room?.own ? [list.all, room.own] : [list.all]
  const actionOf = (action: Action): Action => room?.action ?? action

  const flagged = new Set<string>()
  let rejected = false
  let masked = false
  let { content } = draft
  for (let pass = 0; pass < MAX_PASSES; pass++) {
    const before = content
    content = replaceIn(content, places, ({ text }) => {
      const ranges: Range[] = []
      const visit = (start: number, end: number, action: Action, word: string): boolean => {
        if (action === 'mask') ranges.push([start, end])
        else if (action === 'flag') {
          if (flagged.size < MAX_TOLD) flagged.add(word)
        } else rejected = true
        return rejected
      }
      find(automata, list, text, actionOf, visit)
      return rejected ? [] : ranges
    })
    if (rejected || content === before) break
    masked = true
  }
  if (!rejected && !masked && flagged.size === 0) return undefined
  return { content, rejected, flagged: [...flagged] }
}

type Range = [start: number, end: number]

function find(
  automata: readonly Automaton[],
  { ignore }: ReadyWords,
  text: string,
  actionOf: (action: Action) => Action,
  visit: (start: number, end: number, action: Action, word: string) => boolean,
): void {
  const folded = fold(text, ignore)
  const told: Visit = (word, start, end) =>
    visit(folded.from[start]!, folded.to[end - 1]!, actionOf(word.action), word.text)
  for (const automaton of automata) automaton.find(folded, told)
}

/** @param rangesOf what of a string is masked, in any order; ranges may overlap */
function replaceIn(content: string, { wanted, level }: Places, rangesOf: (found: Found) => readonly Range[]): string {
  let result = ''
  let copied = 0
  for (const found of stringsOf(content, wanted, level)) {
    const ranges = rangesOf(found)
    if (ranges.length === 0) continue
    for (const [start, end] of merged(ranges)) {
      const stars = '*'.repeat(Math.max(1, countVisible(found.text.slice(start, end))))
      result += content.slice(copied, found.rawAt(start)) + stars
      copied = found.rawAt(end)
    }
  }
  return copied === 0 ? content : result + content.slice(copied)
}

/** Ranges in their order, those that overlap as one. */
function merged(ranges: readonly Range[]): Range[] {
  const result: Range[] = []
  for (const [start, end] of ranges.toSorted((a, b) => a[0] - b[0])) {
    const last = result.at(-1)
    if (last && start < last[1]) last[1] = Math.max(last[1], end)
    else result.push([start, end])
  }
  return result
}
