/**
 * Stage 5 of 6, deliver: a pushed entry to the sessions that must see it. From push, over gRPC; to ack. Promise: every session is
 * shown the entries of a conversation in seq order, each once. A late or repeated push changes nothing; a hole is repaired from the
 * log. In a room the sessions are shown what lies between the entries that let their users in and shut them out, both included.
 * On failure: a reader that is too slow is closed with 4508 and catches up when it returns.
 */
import { EVERYONE, endsFor, type PushEntry, type RoomEvent, roomEventIn } from '@tidings/protocol'
import type { StageMetrics, Tracing } from '@tidings/service'
import { createBroadcast } from './broadcast.js'
import type { CatchUp } from './catch-up.js'
import type { Routed } from './routed.js'
import type { Session } from './session.js'
import type { Sessions } from './sessions.js'
import type { Sweep } from './sweep.js'

/** @returns undefined, or the fence of a newer owner of the entry's partition, who has pushed already: then nothing was done */
export type Deliver = (entry: PushEntry) => number | undefined

/** @returns a function that handles one pushed entry */
export function createDeliver(deps: {
  sessions: Sessions
  catchUp: Pick<CatchUp, 'repairSoon'>
  sweep: Pick<Sweep, 'soon'>
  routed: Pick<Routed, 'note'>
  metrics: StageMetrics
  tracing: Tracing
}): Deliver {
  const { sessions, catchUp, routed, metrics, tracing } = deps
  const broadcast = createBroadcast({ sessions, push, missed: () => deps.sweep.soon(0) })
  const fences = new Map<number, number>()

  return (entry) => {
    const { partition, fence, conversation, seq, frame, users } = entry
    const known = fences.get(partition) ?? 0
    if (fence < known) {
      metrics.failed('fenced')
      return known
    }
    if (fence > known) fences.set(partition, fence)
    const span = tracing.enabled ? tracing.start('deliver', entry.trace, { conversation, seq }) : undefined
    if (conversation === EVERYONE) routed.note(frame, broadcast.add(entry) ? sessions.size : 0)
    else routed.note(frame, users.length === 0 ? toRoom(entry) : toUsers(entry))
    span?.end()
    return undefined
  }

  /** @returns the number of sessions that it was put to */
  function toUsers(entry: PushEntry): number {
    let put = 0
    for (const user of entry.users) {
      const all = sessions.of(user)
      for (const session of all) push(session, entry)
      put += all.length
    }
    return put
  }

  function push(session: Session, { conversation, seq, frame, fleeting }: PushEntry): void {
    // A void is shown to nobody: it only says how far the conversation reaches.
    const hintOnly = frame.length === 0 || session.congested || (fleeting && !session.isNext(conversation, seq))
    const behind = session.push(conversation, seq, frame, hintOnly, session.show)
    if (behind) catchUp.repairSoon(session, conversation)
  }

  /** @returns the number of sessions that it was put to */
  function toRoom(entry: PushEntry): number {
    const { conversation, seq, members, frame } = entry
    const event = members ? roomEventIn(frame) : undefined
    if (event) letIn(conversation, seq, event)
    const room = sessions.inRoom(conversation)
    if (!room) return 0
    const put = room.size
    const isForAll = !event && frame.length > 0
    if (!isForAll || !room.push(seq, frame)) room.disband()
    for (const session of room.apart) {
      // One from before the joining is of another stay.
      const last = event !== undefined && seq > (session.joinedAt(conversation) ?? 0) && endsFor(event, session.user)
      if (last) session.flow(conversation).endAt(seq)
      push(session, entry)
      if (last && session.flow(conversation).over) sessions.leaveRoom(session, conversation)
      else room.fallIn(session)
    }
    return put
  }

  function letIn(room: string, seq: number, { joined = [] }: RoomEvent): void {
    for (const user of joined) {
      for (const session of sessions.of(user)) {
        session.join(room, { joined: seq, floor: seq - 1, cursor: seq - 1 })
        sessions.enterRooms(session)
      }
    }
  }
}
