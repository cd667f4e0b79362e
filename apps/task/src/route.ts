/**
 * Stage 3 of 6, route: an accepted entry to the nodes that hold a session of somebody who must see it. From the `push` group; to
 * push.ts. Promise: every session listed when we looked is reached through the answer; one that appears later catches up by its
 * cursor. On failure: throws, and the entry stays pending.
 */
import { isFleeting, messageFrame, type PushEntry, parseConversation, roomEventOf, seenNow } from '@tidings/protocol'
import { type Delivery, PoisonError } from '@tidings/stream'
import type { BatchNodes, Where } from './room-nodes.js'

const NOBODY: readonly string[] = []

/** By node, whose sessions must see it; an empty list for those that are in the room, or for all. Undefined when nobody is there. */
function recipients(delivery: Delivery, where: Where, rooms: BatchNodes): Map<string, readonly string[]> | undefined {
  const conversation = parseConversation(delivery.entry.conversation)
  switch (conversation?.kind) {
    case 'dm':
      return nodesOfUsers(new Set(conversation.users), where)
    case 'feed':
      return nodesOfUsers([conversation.user], where)
    case 'room':
      return new Map([...rooms.nodesOf(delivery)].map((node) => [node, NOBODY]))
    case 'everyone':
      return new Map([...rooms.allNodes()].map((node) => [node, NOBODY]))
    default:
      throw new PoisonError('nobody receives entries of this conversation')
  }
}

function nodesOfUsers(users: Iterable<string>, where: Where): Map<string, string[]> | undefined {
  let byNode: Map<string, string[]> | undefined
  for (const user of users) {
    for (const node of where.nodesOf(user)) {
      byNode ??= new Map()
      const known = byNode.get(node)
      if (known) known.push(user)
      else byNode.set(node, [user])
    }
  }
  return byNode
}

/** Adds the entry to what each concerned node is to be pushed; one copy per node, its frame made once. */
export function route(
  delivery: Delivery,
  where: Where,
  rooms: BatchNodes,
  byNode: Map<string, PushEntry<string>[]>,
): void {
  const { entry, partition, fence } = delivery
  const usersByNode = recipients(delivery, where, rooms)
  if (!usersByNode) return
  // A void is shown to nobody: it only says how far the conversation reaches.
  const frame = entry.type === 'void' ? '' : messageFrame(seenNow(entry))
  const members = roomEventOf(entry) !== undefined
  const fleeting = isFleeting(entry)
  for (const [node, users] of usersByNode) {
    const pushed = {
      partition,
      fence,
      conversation: entry.conversation,
      seq: entry.seq,
      frame,
      users: users as string[],
      trace: entry.trace,
      members,
      fleeting,
    }
    const entries = byNode.get(node)
    if (entries) entries.push(pushed)
    else byNode.set(node, [pushed])
  }
}
