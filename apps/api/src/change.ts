/** From what somebody wants changed to a draft that may be accepted. */
import type { Draft } from '@tidings/accept'
import { beforeEdited, type Change, changeContent } from '@tidings/protocol'
import type { LogicCalls } from './api.js'

/** What is to be done to the message of this id. */
export type Wanted =
  | { type: 'edit'; content: string }
  | { type: 'recall' }
  | { type: 'reaction'; emoji: string; action: 'add' | 'remove' }

/** Asks logic whether `from` may. @throws AppError as `authorizeChange` of logic */
export async function toChange(
  logic: Pick<LogicCalls, 'authorizeChange'>,
  id: string,
  wanted: Wanted,
  { from, clientId, trace }: Pick<Draft, 'from' | 'clientId' | 'trace'>,
): Promise<Draft> {
  const target = await logic.authorizeChange({ user: from, id, type: wanted.type })
  const { conversation, seq, sentAt, base, until } = target
  const change: Change = { id, seq, ...wanted }
  return {
    from,
    conversation,
    type: wanted.type,
    content: changeContent(change),
    clientId,
    trace,
    change: {
      what: wanted.type === 'reaction' ? wanted.action : wanted.type,
      target: { id, seq, sentAt },
      base,
      until,
      detail: detailOf(change),
    },
    ...(wanted.type === 'edit' && { edits: target.type }),
  }
}

function detailOf(change: Change): string | number {
  if (change.type === 'edit') return beforeEdited(change)
  return change.type === 'reaction' ? change.emoji : '-'
}
