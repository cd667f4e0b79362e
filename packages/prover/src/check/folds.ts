/** What the changes in a conversation's log make of its messages, worked out from the final reads alone. Pure. */
import { type Indexed, keyOf, type Seen, type Send } from './indexed.js'

/** What a message must look like in the end. */
export interface Truth {
  recalledAt: number | undefined
  /** The edit that counts. */
  edit: { seq: number; bodyHash: string } | undefined
  /** `<emoji> <user>`. */
  reactions: Set<string>
  /** Changes in their order. */
  log: { seq: number; send: Send }[]
}

/** `<conversation> <seq>` of a message to what its changes make of it; a message without any has none. */
export function truthsOf({ places, sends }: Indexed): Map<string, Truth> {
  const changes = new Map<string, { seen: Seen; send: Send }>()
  for (const { kind, holdings } of places)
    if (kind === 'final')
      for (const { entries } of holdings.values())
        for (const seen of entries) {
          const send = sends.get(keyOf(seen.conv, seen.from, seen.clientId))
          if (seen.shown.target !== undefined && send?.doing) changes.set(`${seen.conv} ${seen.seq}`, { seen, send })
        }
  const truths = new Map<string, Truth>()
  for (const { seen, send } of [...changes.values()].sort((one, other) => one.seen.seq - other.seen.seq)) {
    const at = `${seen.conv} ${seen.shown.target}`
    const truth = truths.get(at) ?? { recalledAt: undefined, edit: undefined, reactions: new Set(), log: [] }
    truths.set(at, truth)
    add(truth, seen.seq, send)
  }
  return truths
}

function add(truth: Truth, seq: number, send: Send): void {
  const { doing, bodyHash, from } = send
  truth.log.push({ seq, send })
  if (truth.recalledAt !== undefined || !doing || doing.what === 'push') return
  if (doing.what === 'recall') {
    truth.recalledAt = seq
    truth.edit = undefined
    truth.reactions.clear()
  } else if (doing.what === 'edit') truth.edit = { seq, bodyHash }
  else if (doing.what === 'add') truth.reactions.add(`${doing.emoji} ${from}`)
  else truth.reactions.delete(`${doing.emoji} ${from}`)
}

/** Key of a message to what was tried on it. */
export function triedOn({ sends }: Indexed): Map<string, Send[]> {
  const tried = new Map<string, Send[]>()
  for (const send of sends.values()) {
    if (!send.doing || send.doing.what === 'push') continue
    const { from, clientId } = send.doing.target
    const key = keyOf(send.conv, from, clientId)
    tried.set(key, [...(tried.get(key) ?? []), send])
  }
  return tried
}

/** Was it accepted, or may it have been? */
export const mayStand = ({ accepted, unknown, refused }: Send): boolean =>
  accepted.length + unknown > 0 || refused === 0
