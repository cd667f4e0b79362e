/** What workers, fellow nodes and logic call: the stream of pushes, the end of a session that moved, and what was pushed. */
import { AppError, Close, EVERYONE, isRoom, type nodeRpc, type PushEntry, unpackPushes } from '@tidings/protocol'
import type { StageMetrics } from '@tidings/service'
import type { Acks } from './ack.js'
import type { Deliver } from './deliver.js'
import type { Routed } from './routed.js'
import type { Sessions } from './sessions.js'
import type { Sweep } from './sweep.js'

/** Ids of one question: each is looked for among all that is remembered. */
const MOST_IDS = 16

/** gRPC implementation. A batch is confirmed when its frames are in the sockets' hands, or dropped with their sessions. */
export function createPushService(deps: {
  deliver: Deliver
  sessions: Sessions
  acks: Acks
  sweep: Sweep
  routed: Pick<Routed, 'of' | 'since'>
  metrics: StageMetrics
}): nodeRpc.NodeServiceImplementation {
  const { deliver, sessions, acks, sweep, routed, metrics } = deps
  return {
    async *push(requests) {
      for await (const { number, recheck, ...packed } of requests) {
        const began = performance.now()
        const entries = unpackPushes(packed)
        const fenced = new Map<number, number>()
        for (const entry of entries) {
          checkEntry(entry)
          const newer = deliver(entry)
          if (newer !== undefined) fenced.set(entry.partition, newer)
        }
        if (recheck) sweep.soon(0)
        if (entries.length > 0) metrics.done(performance.now() - began, entries.length)
        yield { number, fenced: [...fenced].map(([partition, fence]) => ({ partition, fence })) }
      }
    },
    async closeSession({ session: id, code }) {
      const session = sessions.byId(id)
      if (!session) return { found: false }
      const told = { found: true, signIn: session.identity.sessionId ?? '' }
      if (code === 0) return told
      session.close(code, code === Close.Kicked ? 'ended by somebody else' : 'ended by another node')
      await acks.flush()
      return told
    },
    async routed({ ids }) {
      if (ids.length > MOST_IDS) throw new AppError('invalid_request', `At most ${MOST_IDS} ids are asked for at once.`)
      const entries = ids.flatMap((id) => {
        const found = routed.of(id)
        return found ? [{ id, ...found }] : []
      })
      return { entries, since: routed.since }
    },
  }
}

/** The frame of a void is empty. */
function checkEntry({ conversation, seq, users }: PushEntry): void {
  if (conversation === '' || seq < 1 || (users.length === 0 && !isRoom(conversation) && conversation !== EVERYONE)) {
    throw new AppError('invalid_request', 'A pushed entry lacks its conversation, seq or users.')
  }
}
