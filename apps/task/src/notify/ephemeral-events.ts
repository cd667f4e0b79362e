/**
 * Receipts and presence for webhooks, from the bus for what may be lost: gathered for a second, the newest of each kept, up to a hundred
 * in a delivery. Every worker hears all of it; the one that owns the partition of the conversation, or of the user, tells it.
 */
import type { Ephemeral, PresenceEvent, ReceiptEvent } from '@tidings/protocol'
import type { LiveDevices } from '@tidings/registry'
import type { Logger, Stoppable } from '@tidings/service'
import { insertDeliveries, type NewDelivery, type Store, transaction, type WebhookRow } from '@tidings/store'
import type { EphemeralListener, Keys } from '@tidings/stream'
import { eventOfMany, wants } from './events.js'
import type { Hooks } from './hooks.js'

const GATHER_MS = 1_000
/** People and conversations of which something waits to be told. */
const MOST_WAITING = 10_000
const PER_DELIVERY = 100
/** Users in one look at who is online. */
const PER_LOOK = 100

type Told = ReceiptEvent | PresenceEvent

export interface EphemeralEvents extends EphemeralListener, Stoppable {
  /** Gives to the webhooks what has been gathered. */
  flush(): Promise<void>
}

export function startEphemeralEvents(deps: {
  store: Store
  hooks: Pick<Hooks, 'enabled' | 'admit'>
  keys: Pick<Keys, 'partitionOf'>
  owns(partition: number): boolean
  live: LiveDevices
  kick(webhook: string): void
  dropped(events: number): void
  log: Logger
}): EphemeralEvents {
  const { store, hooks, keys, owns, live, kick, dropped, log } = deps
  const receipts = new Map<string, ReceiptEvent>()
  const presences = new Map<string, PresenceEvent>()
  let flushing: Promise<void> | undefined
  let made = 0
  const maker = crypto.randomUUID()

  function keep<Event extends Told>(waiting: Map<string, Event>, key: string, event: Event): void {
    if (!waiting.has(key) && receipts.size + presences.size >= MOST_WAITING) dropped(1)
    else waiting.set(key, { ...waiting.get(key), ...event })
  }

  /** Of those who went, the ones that have no session anywhere: a node knows its own alone. */
  async function reallyChanged(events: readonly PresenceEvent[]): Promise<PresenceEvent[]> {
    const went = events.filter(({ online }) => !online)
    const there = new Set<string>()
    for (let at = 0; at < went.length; at += PER_LOOK) {
      const users = went.slice(at, at + PER_LOOK).map(({ user }) => user)
      const devices = await live.of(users)
      for (const [i, user] of users.entries()) if (devices[i]! > 0) there.add(user)
    }
    return events.filter(({ user, online }) => online || !there.has(user))
  }

  function deliveriesOf(hook: WebhookRow, name: 'receipt' | 'presence', events: readonly Told[], at: number) {
    const wanted = events.filter((event) =>
      wants(hook, name, event.op === 'receipt' ? event.conversation : '', event.user),
    )
    const rows: NewDelivery[] = []
    for (let from = 0; from < wanted.length; from += PER_DELIVERY) {
      const { eventId, body } = eventOfMany(`evt_${maker}.${++made}`, name, at, wanted.slice(from, from + PER_DELIVERY))
      if (hooks.admit(hook.id)) rows.push({ webhook: hook.id, eventId, body })
    }
    return rows
  }

  async function write(): Promise<void> {
    const told = [...receipts.values()]
    const came = [...presences.values()]
    receipts.clear()
    presences.clear()
    if (told.length + came.length === 0) return
    try {
      const changed = await reallyChanged(came)
      const now = new Date()
      const rows = hooks
        .enabled()
        .flatMap((hook) => [
          ...deliveriesOf(hook, 'receipt', told, now.getTime()),
          ...deliveriesOf(hook, 'presence', changed, now.getTime()),
        ])
      if (rows.length === 0) return
      await transaction(store, (db) => insertDeliveries(db, rows, now))
      for (const webhook of new Set(rows.map(({ webhook }) => webhook))) kick(webhook)
    } catch (error) {
      dropped(told.length + came.length)
      log.debug({ err: error, events: told.length + came.length }, 'receipts and presence are not told to webhooks')
    }
  }

  function flush(): Promise<void> {
    flushing ??= write().finally(() => {
      flushing = undefined
    })
    return flushing
  }

  const timer = setInterval(() => void flush(), GATHER_MS)
  return {
    events(events: readonly Ephemeral[]) {
      const names = new Set(hooks.enabled().flatMap((hook) => hook.events))
      for (const event of events) {
        if (event.op === 'receipt' && names.has('receipt') && owns(keys.partitionOf(event.conversation)))
          keep(receipts, `${event.conversation} ${event.user}`, event)
        else if (event.op === 'presence' && names.has('presence') && owns(keys.partitionOf(event.user)))
          keep(presences, event.user, event)
      }
    },
    missed() {},
    flush,
    async stop() {
      clearInterval(timer)
      await flush()
    },
  }
}
