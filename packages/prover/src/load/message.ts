/** Messages of the load: what is sent, and what an answer means. */
import { type ErrorCode, errorTable, isErrorCode } from '@tidings/protocol'
import { type History, hashOf } from '../history.js'
import type { Doing } from '../plan.js'

export interface Message {
  conv: string
  from: string
  to: string
  clientId: string
  /** The very text of the content. */
  content: string
  bodyHash: string
}

export type Outcome =
  | { type: 'ok'; id: string; seq: number; duplicate: boolean }
  /** Surely not accepted. `again`: it may be tried again all the same. */
  | { type: 'fail'; code: string; again: boolean }
  /** Nobody can tell: it is repeated with the same clientId. */
  | { type: 'info'; code: string }

export const CANARY = /canary-[0-9a-f]{12}/g

/** @param canary text that belongs to this conversation alone */
export function makeMessage(
  conv: string,
  from: string,
  to: string,
  clientId: string,
  canary: string,
  size = 40,
): Message {
  const content = JSON.stringify({ canary, clientId, text: 'x'.repeat(size) })
  return { conv, from, to, clientId, content, bodyHash: hashOf(content) }
}

/** What a refusal means: 4xx surely not; all else is unknown. */
export function refusal(status: number, code: string): Outcome {
  if (status >= 400 && status < 500) return { type: 'fail', code, again: status === 429 || status === 408 }
  return { type: 'info', code }
}

export const statusOf = (code: string): number => (isErrorCode(code) ? errorTable[code as ErrorCode].http : 500)

/**
 * A line of the history about one that is sent.
 * @param proc who sends it
 * @param outcome undefined: it goes out now
 * @param data what else it is about
 */
export function recordSend(
  history: History,
  proc: string,
  { conv, from, clientId, bodyHash }: Pick<Message, 'conv' | 'from' | 'clientId' | 'bodyHash'>,
  outcome?: Outcome | { type: 'ok' },
  data?: Doing,
): void {
  const said = outcome && 'id' in outcome ? outcome : undefined
  const detail = outcome && outcome.type !== 'ok' ? outcome.code : said?.duplicate ? 'duplicate' : undefined
  history.record({
    ...{ proc, type: outcome?.type ?? 'invoke', f: 'send' as const, conv, from, clientId, bodyHash },
    ...(data && { data }),
    ...(said && { id: said.id, seq: said.seq }),
    ...(detail !== undefined && { detail }),
  })
}
