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
  /** A JSON object, as the very text that the sender wrote. */
  content: string
  /** The sender's own key for this send, or '' when it gave none. */
  clientId: string
  /** Milliseconds since 1970 when it was accepted. */
  sentAt: number
  /** W3C traceparent of the accepting request, or ''. */
  trace: string
}

/**
 * The entry as the JSON object that people see: in frames, in history, everywhere. The content is the sender's own text,
 * copied and not written again. All other values are of patterns that need no escaping, save type and from, which are checked
 * when they come in.
 */
export function messageJson(entry: Entry): string {
  const clientId = entry.clientId === '' ? '' : `"clientId":"${entry.clientId}",`
  return (
    `{"id":"${entry.id}","conversation":"${entry.conversation}","seq":${entry.seq},"from":"${entry.from}",` +
    `"type":"${entry.type}","content":${entry.content},${clientId}"sentAt":${entry.sentAt}}`
  )
}

/** The frame that delivers an entry to a device. */
export const messageFrame = (entry: Entry): string => `{"op":"message","message":${messageJson(entry)}}`
