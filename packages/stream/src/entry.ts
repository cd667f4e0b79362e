/** An entry as fields of a Redis stream or log: plain text that reads well in `redis-cli XRANGE`, the same fields in every entry. */
import {
  CUSTOM_TYPE,
  ENTRY_TYPES,
  type Entry,
  isParty,
  MAX_CONTENT_BYTES,
  MAX_EDIT_BYTES,
  parseConversation,
  parseOptions,
  SERVICE_SENDER,
  USER_ID,
  voidRange,
} from '@tidings/protocol'
import { remembered } from './remembered.js'

/** Field names of a stream's entry, in the order in which append.lua writes them. */
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

/** Those of a log's entry: its key names the conversation, its id the seq. */
export const LOG_FIELDS = ['id', 'n', 'from', 'type', 'content', 'clientId', 'sentAt'] as const

/** Why an entry can never be handled. Thrown by whoever finds out; the consume loop sets the entry aside. */
export class PoisonError extends Error {
  override readonly name = 'PoisonError'
}

type Field = (typeof FIELDS)[number]

const DECIMAL = /^(0|[1-9]\d{0,18})$/
const CLIENT_ID_OR_NONE = /^[A-Za-z0-9_.:-]{0,64}$/
const LARGEST_ID = '9223372036854775807'

function wholeNumber(name: Field, text: string): number {
  const value = DECIMAL.test(text) ? Number(text) : Number.NaN
  if (!Number.isSafeInteger(value)) throw new PoisonError(`${name} is not a whole number`)
  return value
}

/** The values of these fields, in their order. @param fields names and values in turn, as XRANGE and XREADGROUP give them */
function valuesOf(names: readonly Field[], fields: readonly string[]): readonly string[] {
  // Our own entries have all fields in their order: no search.
  if (fields.length === 2 * names.length && names.every((name, i) => fields[2 * i] === name)) {
    return names.map((_, i) => fields[2 * i + 1]!)
  }
  const found = new Map<string, string>()
  for (let i = 0; i + 1 < fields.length; i += 2) found.set(fields[i]!, fields[i + 1]!)
  return names.map((name) => {
    const value = found.get(name) ?? (name === 'trace' || name === 'clientId' ? '' : undefined)
    if (value === undefined) throw new PoisonError(`${name} is missing`)
    return value
  })
}

/** Behind all others, in the few entries that have it. */
const OPTIONS = 'options'

/** Most entries have as many fields as there are names: then there is nothing else to find. */
function withOptions(entry: Entry, names: readonly Field[], fields: readonly string[]): Entry {
  if (fields.length === 2 * names.length) return entry
  const at = fields.findIndex((field, i) => i % 2 === 0 && field === OPTIONS)
  const options = at === -1 ? undefined : fields[at + 1]
  return options === undefined ? entry : { ...entry, options }
}

function decode(fields: readonly string[]): Entry {
  const values = valuesOf(FIELDS, fields)
  const entry = {
    id: values[0]!,
    conversation: values[1]!,
    seq: wholeNumber('seq', values[2]!),
    n: wholeNumber('n', values[3]!),
    from: values[4]!,
    type: values[5]!,
    content: values[6]!,
    clientId: values[7]!,
    sentAt: wholeNumber('sentAt', values[8]!),
    trace: values[9]!,
  }
  return withOptions(entry, FIELDS, fields)
}

/**
 * Reads an entry of a conversation's log, as we ourselves wrote it.
 * @param id its id in the log, `<seq>-0`
 * @throws PoisonError as `decodeEntry` does, for a part of the reasons
 */
export function decodeLogged(conversation: string, id: string, fields: readonly string[]): Entry {
  const values = valuesOf(LOG_FIELDS, fields)
  const entry = {
    id: values[0]!,
    conversation,
    seq: wholeNumber('seq', id.slice(0, id.indexOf('-'))),
    n: wholeNumber('n', values[1]!),
    from: values[2]!,
    type: values[3]!,
    content: values[4]!,
    clientId: values[5]!,
    sentAt: wholeNumber('sentAt', values[6]!),
    trace: '',
  }
  return withOptions(entry, LOG_FIELDS, fields)
}

/** A busy conversation's name comes with each of its entries. */
const conversationOf = remembered(parseConversation)

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
  const entry = decode(fields)
  const conversation = conversationOf(entry.conversation)
  if (!conversation) throw new PoisonError('conversation is not a conversation id')
  if (conversationPartition(entry.conversation) !== partition) {
    throw new PoisonError('the conversation belongs to another partition')
  }
  // The same string each time: it stays when the reply that it came in is gone.
  entry.conversation = conversation.id
  if (entry.seq < 1) throw new PoisonError('seq is below 1')
  if (entry.type === 'void') {
    checkVoid(entry)
    return entry
  }
  if (!DECIMAL.test(entry.id) || entry.id === '0' || (entry.id.length === 19 && entry.id > LARGEST_ID)) {
    throw new PoisonError('id is not a decimal 64-bit number')
  }
  if (!USER_ID.test(entry.from) && !SERVICE_SENDER.test(entry.from)) {
    throw new PoisonError('from is neither a user id nor a service')
  }
  if (conversation.kind === 'dm' && !isParty(conversation, entry.from)) {
    throw new PoisonError('from is not in the conversation')
  }
  if (!ENTRY_TYPES.has(entry.type) && !CUSTOM_TYPE.test(entry.type)) throw new PoisonError('type is not known')
  if (!CLIENT_ID_OR_NONE.test(entry.clientId)) throw new PoisonError('clientId has forbidden characters')
  checkContentText(entry.content, entry.type === 'edit' ? MAX_EDIT_BYTES : MAX_CONTENT_BYTES)
  if (entry.options !== undefined && !parseOptions(entry.options))
    throw new PoisonError('options are not what a push has')
  return entry
}

/** Written by leap.lua alone: nobody sent it, and it has no id. */
function checkVoid(entry: Entry): void {
  checkContentText(entry.content)
  const { from } = voidRange(entry)
  if (entry.id !== '0' || entry.from !== '') throw new PoisonError('a void has no id and no sender')
  if (from < 1 || from > entry.seq) throw new PoisonError('from of a void is not a seq up to its own')
}

function checkContentText(content: string, most = MAX_CONTENT_BYTES): void {
  if (content.length > most) throw new PoisonError('content is too large')
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
