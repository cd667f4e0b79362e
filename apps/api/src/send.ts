/** From what was sent to a draft that may be accepted. */
import type { Draft, Identity } from '@tidings/accept'
import { AppError, CUSTOM_TYPE, checkContent, checkReply, dmId, ENTRY_TYPES, SENDABLE_TYPES } from '@tidings/protocol'
import type { SendMessage } from './schemas.js'

const invalid = (message: string): AppError => new AppError('invalid_request', message)

/** In whose name it is done. @throws AppError `forbidden`, `invalid_request` */
export function senderOf({ from }: Pick<SendMessage, 'from'>, { user, scopes }: Identity): string {
  if (!scopes) {
    if (from !== undefined && from !== user)
      throw new AppError('forbidden', 'Only a service may send in the name of another.')
    return user
  }
  if (!scopes.has('send')) throw new AppError('forbidden', 'This service token does not have the scope send.')
  if (from === undefined) throw invalid('A service token names who the message is from, in from.')
  return from
}

function typeOf({ type = 'text' }: SendMessage): string {
  if (SENDABLE_TYPES.has(type) || CUSTOM_TYPE.test(type)) return type
  if (ENTRY_TYPES.has(type)) throw new AppError('forbidden', `Messages of the type ${type} are made by the system.`)
  throw invalid('type is text, image, file, or x- with up to 62 of A-Z, a-z, 0-9, _, . and -.')
}

/** @param header the Idempotency-Key, already of the right pattern @throws AppError `invalid_request` */
export function clientIdOf({ clientId }: Pick<SendMessage, 'clientId'>, header: string | undefined): string {
  if (clientId !== undefined && header !== undefined && clientId !== header)
    throw invalid('clientId and Idempotency-Key differ. Send one of them, or both alike.')
  return clientId ?? header ?? ''
}

/**
 * @param message of the right shape
 * @param content its content as text, from a text whose inside is checked
 * @throws AppError `forbidden`, `invalid_request`, `invalid_content`, `content_too_large`
 */
export function toDraft(
  message: SendMessage,
  content: string | undefined,
  identity: Identity,
  { idempotencyKey, trace }: { idempotencyKey: string | undefined; trace: string },
): Draft {
  const from = senderOf(message, identity)
  const type = typeOf(message)
  if (message.waitMs !== undefined && message.wait !== 'persisted')
    throw invalid('waitMs is the deadline of wait: "persisted". Give both, or neither.')
  const { user, room } = message.to
  const raw = checkContent(content)
  if (SENDABLE_TYPES.has(type)) checkReply(raw)
  return {
    from,
    conversation: user === undefined ? `room:${room}` : dmId(from, user),
    type,
    content: raw,
    clientId: clientIdOf(message, idempotencyKey),
    trace,
  }
}
