/**
 * The third group, notify: what must be told to endpoints outside, and what may have to be pushed to devices, into MySQL, a batch at a
 * time. From the `notify` group; to webhook-sender.ts and push-sender.ts, which read it there. Promise: an entry is settled only after
 * everything that it is due to whom is committed, once however often the entry comes; nobody's endpoint holds up a partition. On failure:
 * MySQL or Redis away pauses the group.
 */
import { createLiveDevices, type Registry } from '@tidings/registry'
import {
  gauge,
  type Lifecycle,
  type Logger,
  type MetricsRegistry,
  type Stoppable,
  stageMetrics,
} from '@tidings/service'
import {
  connectStore,
  insertDeliveries,
  insertDuePushes,
  type NewDelivery,
  notePasses,
  transaction,
} from '@tidings/store'
import { type Delivery, type Handler, type Keys, type Redis, subscribeEphemeral } from '@tidings/stream'
import { type EphemeralEvents, startEphemeralEvents } from './ephemeral-events.js'
import { eventOf, wants } from './events.js'
import { type Hooks, watchHooks } from './hooks.js'
import { type Agents, closeAgents, createAgents, createPost } from './outgoing.js'
import type { Vapid } from './push-request.js'
import { startWebPush } from './web-push.js'
import { startWebhookSender } from './webhook-sender.js'

/** Entries in one transaction: each may be due to many. */
const PER_TRANSACTION = 100
/** Of the senders: requests that run may end, and what came of them is written down. */
const STOP_MS = 3_000

export interface NotifyConfig {
  allowPrivate: boolean
  /** How long a webhook's deliveries are tried again. */
  retryForMs: number
  /** Messages are kept for so many days, 0: for ever. */
  retentionDays: number
  /** Undefined: no Web Push. */
  vapid: Vapid | undefined
  webPushAfterMs: number
  webPushContent: boolean
}

export interface NotifyDeps {
  mysqlUrl: string
  config: NotifyConfig
  registry: Registry
  redis: Redis
  keys: Keys
  /** Does this worker own the partition in this group now? */
  owns(partition: number): boolean
  log: Logger
  metrics: MetricsRegistry
  life: Lifecycle
}

export async function startNotify(
  deps: NotifyDeps,
  agents: Agents = createAgents(deps.config.allowPrivate),
): Promise<{ handler: Handler; able: () => Promise<unknown>; checks: Record<string, () => Promise<unknown>> }> {
  const { config, redis, keys, log, metrics, life } = deps
  const store = connectStore(deps.mysqlUrl, log)
  life.add('notify mysql', () => store.stop())
  life.add('agents', () => closeAgents(agents))
  const post = createPost(agents)
  const cut = () => closeAgents(agents)
  const ofHooks = stageMetrics(metrics, 'webhook')
  const ofPushes = stageMetrics(metrics, 'web_push')
  const taken = stageMetrics(metrics, 'notify')

  const hooks = await watchHooks({ store, dropped: (events) => ofHooks.failed('dropped', events), log })
  life.add('webhooks', () => hooks.stop())
  gauge(
    metrics,
    'tidings_hook_deliveries_due',
    'Deliveries that wait for webhooks, by the last count.',
    () => hooks.due,
  )
  const { retryForMs, retentionDays } = config
  const sender = startWebhookSender({
    ...{ store, hooks, post, cut, retryForMs, retentionDays, metrics: ofHooks, log },
  })
  life.add('webhook sender', () => sender.stop(), STOP_MS)
  const ephemeral = startEphemeralEvents({
    ...{ store, hooks, keys, log, owns: deps.owns },
    live: createLiveDevices(deps.registry),
    kick: sender.kick,
    dropped: (events) => ofHooks.failed('dropped', events),
  })
  life.add('ephemeral events', () => ephemeral.stop())
  const listening = listenWhenWanted(hooks, ephemeral, { redis, keys, log })
  life.add('ephemeral listening', () => listening.stop())

  const { vapid } = config
  const pushes =
    vapid &&
    (await startWebPush({ ...{ store, redis, keys, post, cut, vapid, config, log, life }, metrics, stage: ofPushes }))

  function deliveriesOf({ entry }: Delivery): NewDelivery[] {
    const enabled = hooks.enabled()
    if (enabled.length === 0) return []
    const event = eventOf(entry)
    if (!event) return []
    const { eventId, name, body } = event
    return enabled
      .filter((hook) => entry.sentAt >= hook.createdAt.getTime())
      .filter((hook) => wants(hook, name, entry.conversation, entry.from) && hooks.admit(hook.id))
      .map(({ id }) => ({ webhook: id, eventId, body }))
  }

  async function note(batch: readonly Delivery[]): Promise<void> {
    // A webhook that was answered before one of these was accepted is told of it.
    await hooks.again()
    const deliveries = batch.flatMap(deliveriesOf)
    const { devices = [], wide = [] } = (await pushes?.of(batch)) ?? {}
    if (deliveries.length + devices.length + wide.length === 0) return
    const now = new Date()
    const pushAt = new Date(now.getTime() + config.webPushAfterMs)
    await transaction(store, async (db) => {
      await insertDeliveries(db, deliveries, now)
      await insertDuePushes(db, devices, pushAt)
      await notePasses(db, wide, pushAt)
    })
    for (const webhook of new Set(deliveries.map(({ webhook }) => webhook))) sender.kick(webhook)
  }

  return {
    handler: {
      async handle(batch) {
        const began = performance.now()
        for (let at = 0; at < batch.length; at += PER_TRANSACTION) await note(batch.slice(at, at + PER_TRANSACTION))
        taken.done(performance.now() - began, batch.length)
        return {}
      },
    },
    able: () => store.ping(),
    checks: { notify: () => store.ping() },
  }
}

/** Listens to the bus only while a webhook wants to hear of what travels there. */
function listenWhenWanted(
  hooks: Pick<Hooks, 'enabled' | 'onRead'>,
  listener: EphemeralEvents,
  deps: { redis: Redis; keys: Keys; log: Logger },
): Stoppable {
  let listening: Promise<Stoppable> | undefined
  let stopped = false
  function decide(): void {
    const isWanted = hooks.enabled().some(({ events }) => events.includes('receipt') || events.includes('presence'))
    if (isWanted && !stopped) listening ??= subscribeEphemeral({ ...deps, listener })
    else if (listening) {
      void listening.then((open) => open.stop())
      listening = undefined
    }
  }
  decide()
  hooks.onRead(decide)
  return {
    async stop() {
      stopped = true
      await (await listening)?.stop()
    },
  }
}
