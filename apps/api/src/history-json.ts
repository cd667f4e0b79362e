/** History as JSON text. It is put together by hand, because content is the sender's own text and is not written again. */
import { type logicRpc, messageJson } from '@tidings/protocol'

/** An entry without content is a stub: recalled, expired or collapsed. */
export function entryJson(entry: logicRpc.HistoryEntry): string {
  if (entry.content !== '') return messageJson({ ...entry, trace: '' })
  const { id, conversation, seq, from, type, sentAt } = entry
  return JSON.stringify({ id, conversation, seq, from, type, sentAt })
}

export function historyJson({ entries, voids, head, complete }: logicRpc.ReadHistoryResponse): string {
  const ranges = voids.map(({ from, to }) => `[${from},${to}]`)
  return `{"messages":[${entries.map(entryJson).join(',')}],"void":[${ranges.join(',')}],"head":${head},"complete":${complete}}`
}

function conversationJson({ lastMessage, ...view }: logicRpc.ConversationView): string {
  const { id, kind, title, head, delivered, read, unread } = view
  const facts = JSON.stringify({ id, kind, title, head, delivered, read, unread })
  return `${facts.slice(0, -1)},"lastMessage":${lastMessage ? entryJson(lastMessage) : 'null'}}`
}

export function conversationsJson({ conversations, nextCursor }: logicRpc.ListConversationsResponse): string {
  const next = nextCursor === '' ? 'null' : JSON.stringify(nextCursor)
  return `{"conversations":[${conversations.map(conversationJson).join(',')}],"nextCursor":${next}}`
}
