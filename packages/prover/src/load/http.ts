/** The HTTP clients of the load. Nothing is repeated here: an answer is an answer, and none is unknown. */
import type { Change } from './changer.js'
import { type Message, type Outcome, refusal, statusOf } from './message.js'
import type { Push } from './pusher.js'
import type { ShownEntry } from './shown.js'

const TIMEOUT_MS = 5_000

export interface Answer {
  status: number
  body: Record<string, unknown>
}

/** @returns undefined when no answer came */
export async function request(
  base: string,
  method: string,
  path: string,
  token: string,
  body?: string,
  headers: Record<string, string> = {},
): Promise<Answer | undefined> {
  try {
    const response = await fetch(`${base}/api/v1/${path}`, {
      method,
      headers: {
        ...headers,
        authorization: `Bearer ${token}`,
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      signal: AbortSignal.timeout(TIMEOUT_MS),
      ...(body !== undefined && { body }),
    })
    const text = await response.text()
    return { status: response.status, body: text === '' ? {} : (JSON.parse(text) as Record<string, unknown>) }
  } catch {
    // Cut, refused, too late, or half a body: in each case nobody told us.
    return undefined
  }
}

const bodyOf = ({ to, content, clientId }: Message): string =>
  `{"to":{"user":${JSON.stringify(to)}},"content":${content},"clientId":"${clientId}"}`

export async function sendOne(base: string, token: string, message: Message): Promise<Outcome> {
  const answer = await request(base, 'POST', 'messages', token, bodyOf(message))
  return answer ? outcomeOf(answer.status, answer.body) : { type: 'info', code: 'no answer' }
}

/** @returns an outcome for each, in order */
export async function sendBatch(base: string, token: string, messages: readonly Message[]): Promise<Outcome[]> {
  const body = `{"messages":[${messages.map(bodyOf).join(',')}]}`
  const answer = await request(base, 'POST', 'messages/batch', token, body)
  if (!answer) return messages.map(() => ({ type: 'info', code: 'no answer' }))
  if (answer.status !== 202) return messages.map(() => outcomeOf(answer.status, answer.body))
  const results = answer.body.results as Record<string, unknown>[]
  return messages.map((_, i) => {
    const result = results[i]!
    return outcomeOf(typeof result.status === 'number' ? result.status : 202, result)
  })
}

/** @param id of the message, as its acceptance told it */
export async function changeOne(base: string, token: string, id: string, change: Change): Promise<Outcome> {
  const { what, clientId } = change
  const query = `?clientId=${clientId}`
  const emoji = `/reactions/${encodeURIComponent(change.emoji ?? '')}`
  const answer =
    what === 'edit'
      ? await request(base, 'PATCH', `messages/${id}`, token, `{"content":${change.content},"clientId":"${clientId}"}`)
      : what === 'recall'
        ? await request(base, 'DELETE', `messages/${id}${query}`, token)
        : await request(base, what === 'add' ? 'PUT' : 'DELETE', `messages/${id}${emoji}${query}`, token)
  return answer ? outcomeOf(answer.status, answer.body) : { type: 'info', code: 'no answer' }
}

/** The place of an accepted push is told to nobody but those who read it. */
export type PushOutcome = { type: 'ok' } | Exclude<Outcome, { type: 'ok' }>

/** @returns an outcome for each of the users, in order */
export async function pushOnce(
  base: string,
  token: string,
  push: Push,
  users: readonly string[],
): Promise<PushOutcome[]> {
  const { content, clientId, ttl, collapseKey } = push
  const rest = JSON.stringify({ to: { users }, ttl, collapseKey }).slice(1)
  const key = { 'idempotency-key': clientId }
  const answer = await request(base, 'POST', 'push', token, `{"content":${content},${rest}`, key)
  if (!answer) return users.map(() => ({ type: 'info', code: 'no answer' }))
  if (answer.status !== 202) return users.map(() => refusal(answer.status, String(answer.body.code ?? answer.status)))
  const refused = answer.body.refused as { user: string; code: string }[]
  const codes = new Map(refused.map(({ user, code }) => [user, code]))
  return users.map((user) => {
    const code = codes.get(user)
    return code === undefined ? { type: 'ok' } : refusal(statusOf(code), code)
  })
}

function outcomeOf(status: number, body: Record<string, unknown>): Outcome {
  if (status === 202 && typeof body.seq === 'number')
    return { type: 'ok', id: String(body.id), seq: body.seq, duplicate: body.duplicate === true }
  return refusal(status, String(body.code ?? status))
}

export interface HistoryPage {
  messages: (ShownEntry & { id: string; seq: number; from: string; clientId?: string })[]
  void: [number, number][]
  head: number
  complete: boolean
}

/** A page of a conversation, oldest first. @returns the status when it is not one */
export async function readPage(
  base: string,
  token: string,
  conv: string,
  after: number,
  limit: number,
): Promise<HistoryPage | number> {
  const path = `conversations/${encodeURIComponent(conv)}/messages?after=${after}&limit=${limit}`
  const answer = await request(base, 'GET', path, token)
  if (answer?.status !== 200) return answer?.status ?? 0
  return answer.body as unknown as HistoryPage
}
