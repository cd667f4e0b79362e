/** An entry as fields of a Redis stream: plain text that reads well in `redis-cli XRANGE`, the same fields in every entry. */
import {
  CUSTOM_TYPE,
  ENTRY_TYPES,
  type Entry,
  isParty,
  MAX_CONTENT_BYTES,
  parseConversation,
  USER_ID,
  voidRange,
} from '@tidings/protocol'

/** Field names, in the order in which append.lua writes them. */
export const FIELDS = [
  'id',
  'conversation',
  'seq',
  'n',
  'from',
  'type',
  'content',
  'clientId',
  'sentAt',
  'trace',
] as const

/** Why an entry can never be handled. Thrown by whoever finds out; the consume loop sets the entry aside. */
export class PoisonError extends Error {
  override readonly name = 'PoisonError'
}

type Field = (typeof FIELDS)[number]

/** Field names and values in turn, as XRANGE and XREADGROUP give them, by name. */
function byName(fields: readonly string[]): Partial<Record<Field, string>> {
  // Our own entries have all fields in their order: no search, no object with computed names.
  if (fields.length === 20 && fields[0] === 'id' && fields[12] === 'content' && fields[18] === 'trace') {
    return {
      id: fields[1]!,
      conversation: fields[3]!,
      seq: fields[5]!,
      n: fields[7]!,
      from: fields[9]!,
      type: fields[11]!,
      content: fields[13]!,
      clientId: fields[15]!,
      sentAt: fields[17]!,
      trace: fields[19]!,
    }
  }
  const found: Record<string, string> = Object.create(null) as Record<string, string>
  for (let i = 0; i + 1 < fields.length; i += 2) found[fields[i]!] = fields[i + 1]!
  return found
}

const DECIMAL = /^(0|[1-9]\d{0,18})$/
const CLIENT_ID_OR_NONE = /^[A-Za-z0-9_.:-]{0,64}$/

function wholeNumber(name: Field, text: string | undefined): number {
  const value = text !== undefined && DECIMAL.test(text) ? Number(text) : Number.NaN
  if (!Number.isSafeInteger(value)) throw new PoisonError(`${name} is not a whole number`)
  return value
}

/** Reads an entry that we ourselves wrote into a log. @throws PoisonError as `decodeEntry` does, for a part of the reasons */
export function decodeTrusted(fields: readonly string[]): Entry {
  const raw = byName(fields)
  for (const name of FIELDS) {
    if (raw[name] === undefined && name !== 'trace' && name !== 'clientId') throw new PoisonError(`${name} is missing`)
  }
  return {
    id: raw.id!,
    conversation: raw.conversation!,
    seq: wholeNumber('seq', raw.seq),
    n: wholeNumber('n', raw.n),
    from: raw.from!,
    type: raw.type!,
    content: raw.content!,
    clientId: raw.clientId ?? '',
    sentAt: wholeNumber('sentAt', raw.sentAt),
    trace: raw.trace ?? '',
  }
}

/**
 * Reads a stream entry and checks all that later stages rely on. Anyone with redis-cli can write to a stream by hand.
 * @param conversationPartition the partition that a conversation belongs to
 * @param partition the partition of the stream it was found in
 * @throws PoisonError with the reason
 */
export function decodeEntry(
  fields: readonly string[],
  partition: number,
  conversationPartition: (conversation: string) => number,
): Entry {
  const entry = decodeTrusted(fields)
  const conversation = parseConversation(entry.conversation)
  if (!conversation) throw new PoisonError('conversation is not a conversation id')
  if (conversationPartition(entry.conversation) !== partition) {
    throw new PoisonError('the conversation belongs to another partition')
  }
  if (entry.seq < 1) throw new PoisonError('seq is below 1')
  if (entry.type === 'void') {
    checkVoid(entry)
    return entry
  }
  if (!DECIMAL.test(entry.id) || entry.id === '0' || BigInt(entry.id) > 9_223_372_036_854_775_807n) {
    throw new PoisonError('id is not a decimal 64-bit number')
  }
  if (!USER_ID.test(entry.from)) throw new PoisonError('from is not a user id')
  if (conversation.kind === 'dm' && !isParty(conversation, entry.from)) {
    throw new PoisonError('from is not in the conversation')
  }
  if (!ENTRY_TYPES.has(entry.type) && !CUSTOM_TYPE.test(entry.type)) throw new PoisonError('type is not known')
  if (!CLIENT_ID_OR_NONE.test(entry.clientId)) throw new PoisonError('clientId has forbidden characters')
  checkContentText(entry.content)
  return entry
}

/** Written by leap.lua alone: nobody sent it, and it has no id. */
function checkVoid(entry: Entry): void {
  checkContentText(entry.content)
  const { from } = voidRange(entry)
  if (entry.id !== '0' || entry.from !== '') throw new PoisonError('a void has no id and no sender')
  if (from < 1 || from > entry.seq) throw new PoisonError('from of a void is not a seq up to its own')
}

function checkContentText(content: string): void {
  if (content.length > MAX_CONTENT_BYTES) throw new PoisonError('content is too large')
  let parsed: unknown
  try {
    parsed = JSON.parse(content)
  } catch (error) {
    throw new PoisonError('content is not JSON', { cause: error })
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    throw new PoisonError('content is not a JSON object')
  }
}
