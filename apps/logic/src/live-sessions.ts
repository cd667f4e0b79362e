/** The live sessions of a user: etcd lists them, and the connect nodes that hold them end them. */
import { AppError, Close, type nodeRpc } from '@tidings/protocol'
import { type ConnectNodes, type Registry, readSessions } from '@tidings/registry'

/** Acks are flushed before a node answers. */
const BOUND_MS = 1_500

export interface LiveSession {
  session: string
  node: string
  device: string
}

export interface LiveSessions {
  /** @throws AppError `unavailable` when etcd does not answer */
  of(user: string): Promise<LiveSession[]>
  /**
   * @returns the sign-in behind a session, '' for a token made elsewhere; undefined when it has ended meanwhile
   * @throws AppError `unavailable` when its node does not answer
   */
  signInOf(live: LiveSession): Promise<string | undefined>
  /** Closes a session with 4410; its acks are kept. @throws AppError `unavailable` when its node does not answer */
  kick(live: LiveSession): Promise<void>
}

export function createLiveSessions(deps: {
  registry: Pick<Registry, 'etcd' | 'keys'>
  nodes: Pick<ConnectNodes, 'client'>
}): LiveSessions {
  async function ask({ node, session }: LiveSession, code: number): Promise<nodeRpc.CloseSessionResponse> {
    const client = deps.nodes.client(node)
    // Its listing goes with its lease, shortly.
    if (!client) throw new AppError('unavailable', `The node ${node} is not there now.`, { retryAfter: 2 })
    try {
      return await client.closeSession({ session, code }, { deadlineMs: BOUND_MS })
    } catch (cause) {
      throw new AppError('unavailable', `The node ${node} does not answer now.`, { cause, retryAfter: 2 })
    }
  }

  return {
    async of(user) {
      try {
        return await readSessions(deps.registry, user)
      } catch (cause) {
        throw new AppError('unavailable', 'Nobody knows now who is online.', { cause, retryAfter: 1 })
      }
    },
    async signInOf(live) {
      const { found, signIn } = await ask(live, 0)
      return found ? signIn : undefined
    },
    async kick(live) {
      await ask(live, Close.Kicked)
    },
  }
}
