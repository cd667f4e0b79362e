/** To which connect nodes a message was pushed, as they remember it: nobody writes it down. */
import type { logicRpc, nodeRpc } from '@tidings/protocol'
import { type ConnectNodes, timeOfId } from '@tidings/registry'
import { gather, type Logger } from '@tidings/service'

/** A node that answers later counts as one that does not: it is asked while somebody waits for all the rest. */
const BOUND_MS = 500
/** One that did not answer is not asked again before this, so that a node that hangs holds up one question in a while. */
const QUIET_MS = 1_000
/** A node looks for as many in one call, see push-service.ts. */
const BOUNDS = { mostPerCall: 16, callsAtOnce: 8, patienceMs: 20 }

/** Nodes that are in no list answered that no push brought them the message. */
export interface Routed {
  nodes: logicRpc.RoutedTo[]
  /** Names of nodes that remember nothing of the time when it was sent. */
  forgotten: string[]
  /** Names of nodes that could not be asked. */
  unanswered: string[]
}

/** Never rejects. */
export type AskRouted = (id: string) => Promise<Routed>

/** Asks all connect nodes at once; what is asked meanwhile goes along. */
export function createRouted(nodes: Pick<ConnectNodes, 'names' | 'client'>, log: Logger): AskRouted {
  const quiet = new Set<string>()

  async function askNode(node: string, ids: string[]): Promise<nodeRpc.RoutedResponse | undefined> {
    if (quiet.has(node)) return undefined
    try {
      return await nodes.client(node)?.routed({ ids }, { deadlineMs: BOUND_MS })
    } catch (err) {
      log.debug({ err, node }, 'a connect node does not say what was pushed to it')
      quiet.add(node)
      setTimeout(() => quiet.delete(node), QUIET_MS).unref()
      return undefined
    }
  }

  return gather(async (ids: string[]) => {
    const answers = await Promise.all(nodes.names().map(async (node) => ({ node, answer: await askNode(node, ids) })))
    return ids.map((id) => {
      const routed: Routed = { nodes: [], forgotten: [], unanswered: [] }
      for (const { node, answer } of answers) {
        const found = answer?.entries.find((entry) => entry.id === id)
        if (found) routed.nodes.push({ node, at: found.at, sessions: found.sessions })
        else if (!answer) routed.unanswered.push(node)
        else if (timeOfId(id) <= answer.since) routed.forgotten.push(node)
      }
      return routed
    })
  }, BOUNDS)
}

/** What its sender is told: how many, and not which. @returns undefined when no node remembers it */
export function sumOf({ nodes }: Routed): logicRpc.RoutedSum | undefined {
  if (nodes.length === 0) return undefined
  return {
    nodes: nodes.length,
    sessions: nodes.reduce((sum, { sessions }) => sum + sessions, 0),
    at: Math.min(...nodes.map(({ at }) => at)),
  }
}
