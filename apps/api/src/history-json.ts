/** History as JSON text. It is put together by hand, because content is the sender's own text and is not written again. */
import { type logicRpc, messageJson } from '@tidings/protocol'

/** An entry without content is a stub: recalled, expired or collapsed. */
export const entryJson = (entry: logicRpc.HistoryEntry): string => messageJson({ ...entry, trace: '' })

/** The message, and beside its own members what has become of it. */
export function messageStateJson({ entry, stored, others, routed }: logicRpc.GetMessageResponse): string {
  const by = (kind: 'delivered' | 'read'): string[] => others.flatMap((one) => (one[kind] ? [one.user] : []))
  const told = { delivered: by('delivered'), read: by('read'), routed: routed ?? null }
  const state = JSON.stringify({ accepted: true, stored, ...told })
  return `${entryJson(entry!).slice(0, -1)},"state":${state}}`
}

export function searchJson({ hits, nextCursor, complete }: logicRpc.SearchMessagesResponse): string {
  const results = hits.map(({ entry, snippet, marks }) => {
    const places = JSON.stringify(marks.map(({ from, to }) => [from, to]))
    return `{"message":${entryJson(entry!)},"snippet":${JSON.stringify(snippet)},"marks":${places}}`
  })
  const next = nextCursor === '' ? 'null' : JSON.stringify(nextCursor)
  return `{"results":[${results.join(',')}],"nextCursor":${next},"complete":${complete}}`
}

const rangesJson = (voids: readonly logicRpc.Void[]): string =>
  `[${voids.map(({ from, to }) => `[${from},${to}]`).join(',')}]`

const messagesJson = (entries: readonly logicRpc.HistoryEntry[]): string => `[${entries.map(entryJson).join(',')}]`

export const historyJson = ({ entries, voids, head, complete }: logicRpc.ReadHistoryResponse): string =>
  `{"messages":${messagesJson(entries)},"void":${rangesJson(voids)},"head":${head},"complete":${complete}}`

/** The ids of conversations need no escaping. */
export function offlineJson({ entries, voids, gaps, nextCursor }: logicRpc.ReadOfflineResponse): string {
  const gone = voids.map((of) => `"${of.conversation}":${rangesJson(of.voids)}`)
  const open = gaps.map((gap) => `"${gap.conversation}":${rangesJson([gap])}`)
  const next = nextCursor === '' ? 'null' : `"${nextCursor}"`
  const ranges = `"void":{${gone.join(',')}},"gap":{${open.join(',')}}`
  return `{"messages":${messagesJson(entries)},${ranges},"nextCursor":${next},"more":${nextCursor !== ''}}`
}

/** @param now what is over by then is no muting any more */
export const flagsJson = ({ mutedUntil, pinned }: logicRpc.ConversationFlags, now: number) => ({
  muted: mutedUntil > now,
  mutedUntil: mutedUntil > now && mutedUntil < Number.MAX_SAFE_INTEGER ? mutedUntil : null,
  pinned,
})

export function conversationJson({ lastMessage, ...view }: logicRpc.ConversationView): string {
  const { id, kind, title, head, delivered, read, unread } = view
  const facts = JSON.stringify({ id, kind, title, head, delivered, read, unread, ...flagsJson(view, Date.now()) })
  return `${facts.slice(0, -1)},"lastMessage":${lastMessage ? entryJson(lastMessage) : 'null'}}`
}

export function conversationsJson({ conversations, nextCursor }: logicRpc.ListConversationsResponse): string {
  const next = nextCursor === '' ? 'null' : JSON.stringify(nextCursor)
  return `{"conversations":[${conversations.map(conversationJson).join(',')}],"nextCursor":${next}}`
}
