/** An entry of a conversation as it travels between our processes. */
export interface Entry {
  /** Snowflake, a decimal string: it does not fit a JavaScript number. */
  id: string
  conversation: string
  /** Position in the conversation, from 1. */
  seq: number
  /** How many entries up to here a person would count as messages. */
  n: number
  from: string
  type: string
  /** A JSON object, as the very text that the sender wrote; '' for a stub, an entry whose content is gone. */
  content: string
  /** The sender's own key for this send, or '' when it gave none. */
  clientId: string
  /** Milliseconds since 1970 when it was accepted. */
  sentAt: number
  /** W3C traceparent of the accepting request, or ''. */
  trace: string
  /** Further members of its JSON object, as text: what later entries have made of it. Set where it is read; see fold.ts. */
  extra?: string
  /** What a server asked for when it pushed this, see options.ts; as the text that travels. Most entries have none, or ''. */
  options?: string
}

/**
 * The entry as the JSON object that people see: in frames, in history, everywhere. The content is the sender's own text,
 * copied and not written again. All other values are of patterns that need no escaping, save type and from, which are checked
 * when they come in. Without content it is a stub.
 */
export function messageJson(entry: Entry): string {
  const clientId = entry.clientId === '' ? '' : `"clientId":"${entry.clientId}",`
  const content = entry.content === '' ? '' : `"content":${entry.content},`
  const extra = entry.extra ? `,${entry.extra}` : ''
  const options = entry.options ? `,${entry.options.slice(1, -1)}` : ''
  return (
    `{"id":"${entry.id}","conversation":"${entry.conversation}","seq":${entry.seq},"from":"${entry.from}",` +
    `"type":"${entry.type}",${content}${clientId}"sentAt":${entry.sentAt}${options}${extra}}`
  )
}

const FRAME_BEGINS = '{"op":"message","message":'

/** The frame that delivers an entry to a device. */
export const messageFrame = (entry: Entry): string => `${FRAME_BEGINS}${messageJson(entry)}}`

/** Where the first digit of the entry's id stands in every such frame: who counts frames need not parse them. */
export const FRAME_ID_AT = FRAME_BEGINS.length + '{"id":"'.length

/** Seqs, both ends included. */
export interface SeqRange {
  from: number
  to: number
}

/**
 * The seqs that an entry of type `void` declares empty, both ends included: a void stands at its last seq, so that whoever reads on from
 * inside it finds it next. Its first is `from` in its content, or its own seq.
 */
export function voidRange(entry: Pick<Entry, 'seq' | 'content'>): SeqRange {
  const { from } = JSON.parse(entry.content) as { from?: unknown }
  return { from: typeof from === 'number' && Number.isSafeInteger(from) ? from : entry.seq, to: entry.seq }
}

/** An entry of type `void` over these seqs. @param n of the last entry before it: it holds none */
export const voidEntry = (conversation: string, { from, to }: SeqRange, n: number, sentAt: number): Entry => ({
  id: '0',
  conversation,
  seq: to,
  n,
  from: '',
  type: 'void',
  content: JSON.stringify({ from, to }),
  clientId: '',
  sentAt,
  trace: '',
})

/**
 * What of a range is left when parts of it are taken.
 * @param taken ascending
 * @returns ascending
 */
export function rangesBetween({ from, to }: SeqRange, taken: readonly SeqRange[]): SeqRange[] {
  const left: SeqRange[] = []
  let next = from
  for (const part of taken) {
    if (part.from > next) left.push({ from: next, to: Math.min(part.from - 1, to) })
    next = Math.max(next, part.to + 1)
  }
  if (next <= to) left.push({ from: next, to })
  return left
}
