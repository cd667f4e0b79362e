/**
 * Stage 3 of 6, route: an accepted entry to the nodes that hold a session of somebody who must see it. From the `push` group; to
 * push.ts. Promise: every session listed when we looked is reached through the answer; one that appears later catches up by its
 * cursor. On failure: throws, and the entry stays pending.
 */
import { messageFrame, type nodeRpc, parseConversation } from '@tidings/protocol'
import { type Delivery, PoisonError } from '@tidings/stream'

/** Where the sessions of a user are; see registry's `mirrorRoutes`. */
export interface Where {
  nodesOf(user: string): Iterable<string>
}

const NOTHING = Buffer.alloc(0)

/** Who must see an entry of this conversation. */
export function recipientsOf(conversation: string): readonly string[] {
  const parsed = parseConversation(conversation)
  switch (parsed?.kind) {
    case 'dm':
      return parsed.users[0] === parsed.users[1] ? [parsed.users[0]] : parsed.users
    case 'feed':
      return [parsed.user]
    default:
      throw new PoisonError('nobody receives entries of this conversation')
  }
}

/** Adds the entry to what each concerned node is to be pushed; one copy per node, its frame made once. */
export function route(delivery: Delivery, where: Where, byNode: Map<string, nodeRpc.PushEntry[]>): void {
  const { entry, partition, fence } = delivery
  let usersByNode: Map<string, string[]> | undefined
  for (const user of recipientsOf(entry.conversation)) {
    for (const node of where.nodesOf(user)) {
      usersByNode ??= new Map()
      const users = usersByNode.get(node)
      if (users) users.push(user)
      else usersByNode.set(node, [user])
    }
  }
  if (!usersByNode) return
  // A void is shown to nobody: it only says how far the conversation reaches.
  const frame = entry.type === 'void' ? NOTHING : Buffer.from(messageFrame(entry))
  for (const [node, users] of usersByNode) {
    const pushed = {
      partition,
      fence,
      conversation: entry.conversation,
      seq: entry.seq,
      frame,
      users,
      trace: entry.trace,
    }
    const entries = byNode.get(node)
    if (entries) entries.push(pushed)
    else byNode.set(node, [pushed])
  }
}
