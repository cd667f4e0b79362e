/**
 * Tells the people of a conversation how far one of them has got. Both ways in, frames and HTTP, end here; the scripts that move
 * positions say what moved. Nobody waits for it, and it may be lost.
 */
import { isRoom, type ReceiptEvent } from '@tidings/protocol'
import type { Logger } from '@tidings/service'
import type { Keys, Redis } from '@tidings/stream'

/** In larger rooms a receipt of each member to each member would be most of what is told. */
const MOST_MEMBERS = 100
const SIZE_KEPT_MS = 10_000
const SIZES_KEPT = 10_000

export interface Receipts {
  /** A device has everything up to `seq`, and no other of the user's has as much. */
  delivered(position: { user: string; conversation: string; seq: number }): void
  /** The person has read everything up to `seq`. */
  read(position: { user: string; conversation: string; seq: number }): void
}

export function createReceipts(deps: {
  redis: Pick<Redis, 'hlen'>
  keys: Pick<Keys, 'members'>
  publish(event: ReceiptEvent): void
  log: Logger
}): Receipts {
  const { redis, keys, publish, log } = deps
  /** Room to whether its members are few; the oldest first. */
  const sizes = new Map<string, { few: Promise<boolean>; until: number }>()

  async function look(room: string): Promise<boolean> {
    try {
      // One field of it is not a member's.
      const members = (await redis.hlen(keys.members(room))) - 1
      return members > 0 && members <= MOST_MEMBERS
    } catch (error) {
      log.debug({ err: error instanceof Error ? error.message : error, room }, 'a receipt is dropped')
      return false
    }
  }

  function isSmall(room: string): Promise<boolean> {
    const known = sizes.get(room)
    if (known && known.until > performance.now()) return known.few
    sizes.delete(room)
    const few = look(room)
    sizes.set(room, { few, until: performance.now() + SIZE_KEPT_MS })
    const [oldest] = sizes.keys()
    if (sizes.size > SIZES_KEPT && oldest !== undefined) sizes.delete(oldest)
    return few
  }

  function tell(event: ReceiptEvent): void {
    if (!isRoom(event.conversation)) publish(event)
    else void isSmall(event.conversation).then((small) => small && publish(event))
  }

  return {
    delivered({ user, conversation, seq }) {
      // A feed has one person, who is not told of that.
      if (!conversation.startsWith('feed:')) tell({ op: 'receipt', conversation, user, delivered: seq })
    },
    read({ user, conversation, seq }) {
      tell({ op: 'receipt', conversation, user, read: seq })
    },
  }
}
