/** What append.lua's answers, and its failures, mean for the senders. */
import { hash } from 'node:crypto'
import { AppError, type Entry, errorTable } from '@tidings/protocol'
import type { AppendItem, Waiting } from './append-lines.js'
import { isRefused } from './cluster.js'
import { isFull, redisFull } from './full.js'

/** What makes two sends with one clientId the same send. */
export const digestOf = ({ type, content }: Pick<AppendItem, 'type' | 'content'>): string =>
  hash('sha256', `${type}\n${content}`, 'base64url').slice(0, 22)

/** That of what was sent, and behind a plus sign that of what is appended, where it is something else: MySQL has only the latter. */
export const digestsOf = (item: Pick<AppendItem, 'type' | 'content' | 'sent'>): string =>
  item.sent === undefined || item.sent === item.content
    ? digestOf(item)
    : `${digestOf({ type: item.type, content: item.sent })}+${digestOf(item)}`

/** What a once-key holds for an entry that is in MySQL: in the stream it lies nowhere any more, so every mark is beyond it. */
export const onceValue = (
  entry: Pick<Entry, 'id' | 'seq' | 'type' | 'content' | 'sentAt'> & { changed?: boolean },
): string =>
  // Of one that was changed since, the body is not known any more: whatever comes with its clientId is taken for it.
  `${entry.changed ? '*' : digestOf(entry)} ${entry.id} ${entry.seq} ${entry.sentAt} 0-0`

/** It is not to be appended, and was not before. */
export const NEVER = 'R'

/** Tells a waiting sender what append.lua answered. */
export function answer({ item, resolve, reject }: Waiting, reply: string, partition: number, generation: number): void {
  if (reply.startsWith('A ')) {
    // By far the most, so without the parts of `split`.
    const space = reply.indexOf(' ', 2)
    const seq = Number(reply.slice(2, space))
    const { id, sentAt } = item
    resolve({ id, seq, sentAt, streamId: reply.slice(space + 1), partition, generation, duplicate: false })
    return
  }
  const [kind, id, seq, sentAt, streamId] = reply.split(' ')
  switch (kind) {
    case 'D':
      resolve({
        id: id!,
        seq: Number(seq),
        sentAt: Number(sentAt),
        streamId: streamId!,
        partition,
        generation,
        duplicate: true,
      })
      return
    case NEVER:
      reject(item.refusal!)
      return
    case 'C':
      reject(new AppError('idempotency_conflict', 'This clientId was used for another message in this conversation.'))
      return
    case 'N':
      reject(new AppError('conversation_not_found', 'There is no such conversation, or you are not in it.'))
      return
    case 'M':
      reject(new AppError('muted', 'You are muted in this room.', { details: { mutedUntil: Number(id) } }))
      return
    case 'W':
      reject(new AppError('change_window_over', 'It is too late to change this message.'))
      return
    case 'X':
      reject(new AppError('message_recalled', `This message is ${id}: it cannot be changed any more.`))
      return
    case 'Y':
      reject(new AppError('too_many_reactions', 'This message has too many reactions.'))
      return
    default:
      reject(notAccepted(new Error(reply.slice(2))))
  }
}

export const notAccepted = (cause: unknown): AppError =>
  new AppError('unavailable', 'The message store does not answer now; nothing was accepted. Try again shortly.', {
    cause,
    retryAfter: 1,
  })

/** Whoever helps has not appended anything, whatever comes of it. */
export async function helped(help: () => Promise<void>): Promise<void> {
  try {
    await help()
  } catch (error) {
    // A plain no, such as for a room that has ended, is the sender's answer.
    if (error instanceof AppError && !errorTable[error.code].retryable && error.code !== 'internal') throw error
    throw notAccepted(error)
  }
}

/** A failure of the whole call, as its senders see it: was it surely not executed, or can nobody tell? */
export function asAppendError(error: unknown): AppError {
  if (error instanceof AppError) return error
  if (isFull(error)) return redisFull(error)
  // Redis itself said no (loading, read only, moved), or was not asked: the script has not run.
  if (isRefused(error)) return notAccepted(error)
  return new AppError('outcome_unknown', 'The message store did not answer. Repeat it with the same clientId.', {
    cause: error,
    retryAfter: 1,
  })
}
