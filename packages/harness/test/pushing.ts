/** What the tests of pushes share: a server that pushes, and how what it pushed is looked at. */
import { type TestClient, type TestUser, until, type World, type WorldOptions } from '../src/index.js'

export const PUSH = 'a-token-of-the-shop-that-may-push'
export const BLIND = 'a-token-that-may-only-send'
export const TWO: WorldOptions = {
  count: { api: 2, logic: 2, task: 2, connect: 2 },
  env: { TIDINGS_SERVICE_TOKENS: `shop:push:${PUSH},crm:send:${BLIND}` },
}
export const EVERYONE = 'feed:*'

export interface Pushed {
  accepted: number
  duplicates: number
  refused: { user: string; code: string }[]
  message?: { conversation: string; seq: number; id: string; duplicate: boolean }
}
export interface Seen {
  id: string
  seq: number
  from: string
  type: string
  content?: { text: string }
  expiresAt?: number
  priority?: string
}

export async function push(w: World, to: object, text: string, over: Record<string, unknown> = {}): Promise<Pushed> {
  const { key, ...rest } = over
  const reply = await w.http<Pushed>('POST', 'push', {
    token: PUSH,
    body: { to, content: { text }, ...rest },
    headers: typeof key === 'string' ? { 'idempotency-key': key } : {},
  })
  if (reply.status !== 202) throw new Error(`pushing: ${reply.status} ${reply.text}`)
  return reply.body
}

export const textsOf = (messages: readonly unknown[]): string[] =>
  (messages as Seen[]).map(({ type, content }) => content?.text ?? type)
export const texts = (client: TestClient, conversation: string): string[] => textsOf(client.messages(conversation))

export async function history(w: World, user: TestUser, conversation: string): Promise<Seen[]> {
  const reply = await w.http<{ messages: Seen[] }>('GET', `conversations/${conversation}/messages`, {
    token: user.token,
  })
  if (reply.status !== 200) throw new Error(`reading: ${reply.status} ${reply.text}`)
  return reply.body.messages
}

export const offline = async (w: World, user: TestUser, query: string): Promise<Seen[]> =>
  (await w.http<{ messages: Seen[] }>('GET', `offline?${query}`, { token: user.token })).body.messages

export interface Listed {
  id: string
  kind: string
  unread: number
  read: number
  head: number
  lastMessage: Seen | null
}
export const conversations = async (w: World, user: TestUser): Promise<Listed[]> =>
  (await w.http<{ conversations: Listed[] }>('GET', 'conversations', { token: user.token })).body.conversations

export async function stored(w: World, conversation: string, seq: number): Promise<void> {
  await until(`${conversation} is stored up to ${seq}`, async () => {
    const [row] = await w.store.use((db) =>
      db.select<{ seq: string | null }>('SELECT MAX(seq) AS seq FROM entries WHERE conversation = ?', [conversation]),
    )
    return Number(row?.seq) >= seq
  })
}

/** What is in the streams of a conversation, over all partitions. */
export async function streamed(w: World, conversation: string): Promise<number> {
  const rows = await w.redis.xrange(w.keys.messages(w.keys.partitionOf(conversation)), '-', '+')
  return rows.filter(([, fields]) => fields[fields.indexOf('conversation') + 1] === conversation).length
}

/** The sum of a counter over these processes. */
export async function metric(w: World, instances: readonly string[], line: RegExp): Promise<number> {
  let sum = 0
  for (const instance of instances) {
    const text = await (await fetch(`http://127.0.0.1:${w.ops.get(instance)}/metrics`)).text()
    for (const one of text.split('\n')) if (line.test(one)) sum += Number(one.slice(one.lastIndexOf(' ')))
  }
  return sum
}
