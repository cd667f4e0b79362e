/** What a pre-send hook says to a message. */
import { checkContent, MAX_CONTENT_DEPTH, rawMembers } from '@tidings/protocol'

const MAX_REASON_LENGTH = 200

export type HookAnswer =
  | { action: 'allow' }
  /** `reason` is shown to the sender; '' when the hook gives none. */
  | { action: 'reject'; reason: string }
  /** `content` takes the place of the sender's: raw JSON text. */
  | { action: 'replace'; content: string }

/** @throws when it is not an answer: no JSON object, no known action, content that may not be stored */
export function parseAnswer(text: string): HookAnswer {
  const parsed = JSON.parse(text) as unknown
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) throw new Error('it is not a JSON object')
  const { action, reason } = parsed as { action?: unknown; reason?: unknown }
  switch (action) {
    case 'allow':
      return { action }
    case 'reject':
      return { action, reason: typeof reason === 'string' ? plain(reason) : '' }
    case 'replace':
      return { action, content: checkContent(rawMembers(text, MAX_ANSWER_DEPTH).get('content')) }
    default:
      throw new Error('its action is none of allow, reject, replace')
  }
}

/** That of a content, and the answer around it. */
const MAX_ANSWER_DEPTH = MAX_CONTENT_DEPTH + 1

/** One line of visible text. */
const plain = (reason: string): string =>
  reason
    .slice(0, MAX_REASON_LENGTH)
    .replace(/[\p{Cc}\p{Cf}\p{Cs}]+/gu, ' ')
    .trim()
