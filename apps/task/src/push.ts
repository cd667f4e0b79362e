/**
 * Stage 4 of 6, push: routed entries to their nodes, one stream per node, a batch at a time. From route; to deliver. Promise: an
 * entry counts as finished only when every concerned node has confirmed it, or has been marked as owed a re-check of the heads. A
 * node that is not listed any more needs nothing: its devices come back elsewhere and catch up. On failure of a node: the others do
 * not wait for it. Far behind: what is old is not pushed (late.ts), and every node is owed a re-check.
 */
import { type PushEntry, rpcToken } from '@tidings/protocol'
import type { NodeInfo, Registry } from '@tidings/registry'
import { gauge, type Logger, type MetricsRegistry, type Span, stageMetrics, type Tracing } from '@tidings/service'
import { type Delivery, type Exceptions, type Keys, PoisonError, type Redis } from '@tidings/stream'
import { startLateness } from './late.js'
import { type NodeLink, openNodeLink } from './node-link.js'
import { createRoomNodes, type Where } from './room-nodes.js'
import { route } from './route.js'

/** While it skips ahead, devices look this often, and once more after the last late entry. */
const RECHECK_EVERY_MS = 1_000
/** Quiet for this long, it is another time that push is behind. */
const SAY_EVERY_MS = 10_000

export interface Pusher {
  handle(batch: readonly Delivery[]): Promise<Exceptions>
  stop(): Promise<void>
}

/** Resolves when the listed nodes are known. */
export async function startPusher(deps: {
  registry: Pick<Registry, 'watchNodes'>
  where: Where
  redis: Redis
  keys: Keys
  jwtSecret: string
  log: Logger
  metrics: MetricsRegistry
  tracing: Tracing
}): Promise<Pusher> {
  const { registry, where, log, tracing } = deps
  const lateness = await startLateness(deps.redis, deps.keys)
  const token = rpcToken(deps.jwtSecret)
  const links = new Map<string, { info: NodeInfo; link: NodeLink }>()
  const rooms = createRoomNodes({ redis: deps.redis, keys: deps.keys, where, allNodes: () => links.keys() })
  const routed = stageMetrics(deps.metrics, 'route')
  const pushed = stageMetrics(deps.metrics, 'push')
  gauge(deps.metrics, 'tidings_nodes_owed', 'Connect nodes that are owed a re-check of their heads.', () =>
    [...links.values()].reduce((sum, { link }) => sum + (link.owed ? 1 : 0), 0),
  )

  await registry.watchNodes('connect', (nodes) => {
    for (const [node, { info, link }] of links) {
      if (nodes.get(node)?.bootId === info.bootId) continue
      link.stop()
      links.delete(node)
    }
    for (const [node, info] of nodes) {
      if (!links.has(node)) links.set(node, { info, link: openNodeLink(node, info.address, token, log) })
    }
  })

  let skippedAt = Number.NEGATIVE_INFINITY
  let recheckedAt = Number.NEGATIVE_INFINITY
  let recheckSoon: NodeJS.Timeout | undefined

  function recheck(): void {
    recheckSoon = undefined
    recheckedAt = performance.now()
    for (const { link } of links.values()) link.owe()
  }

  /** The late ones are finished with: whoever must see them is told to look, or finds them when it comes. */
  function skip(late: number, now: number): void {
    if (late === 0) return
    if (now - skippedAt > SAY_EVERY_MS) log.warn('push is behind and skips ahead; devices read the logs')
    skippedAt = now
    pushed.failed('late', late)
    const waitMs = recheckedAt + RECHECK_EVERY_MS - now
    if (waitMs <= 0) recheck()
    else recheckSoon ??= setTimeout(recheck, waitMs)
  }

  return {
    async handle(whole) {
      const began = performance.now()
      const { fresh: batch, late } = lateness.split(whole)
      skip(late.length, began)
      const nodes = await rooms.learn(batch)
      const byNode = new Map<string, PushEntry<string>[]>()
      const poisoned: { delivery: Delivery; reason: string }[] = []
      const spans: Span[] = []
      for (const delivery of batch) {
        try {
          if (tracing.enabled) spans.push(startSpan(tracing, delivery))
          route(delivery, where, nodes, byNode)
        } catch (error) {
          if (!(error instanceof PoisonError)) throw error
          poisoned.push({ delivery, reason: error.message })
        }
      }
      const routedAt = performance.now()
      routed.done(routedAt - began, batch.length)
      const fenced = new Map<number, number>()
      await Promise.all(
        [...byNode].map(async ([node, entries]) => {
          const outcome = await links.get(node)?.link.push(entries)
          for (const { partition, fence } of outcome?.fenced ?? []) {
            fenced.set(partition, Math.max(fence, fenced.get(partition) ?? 0))
          }
          if (outcome?.state === 'confirmed') pushed.done(performance.now() - routedAt, entries.length)
          else pushed.failed(outcome?.state ?? 'gone', entries.length)
        }),
      )
      for (const span of spans) span.end()
      return { poisoned, fenced }
    },
    async stop() {
      clearTimeout(recheckSoon)
      for (const { link } of links.values()) link.stop()
      links.clear()
    },
  }
}

/** The entry travels on under this span, so that `deliver` shows as its child. */
function startSpan(tracing: Tracing, { entry }: Delivery): Span {
  const span = tracing.start('push', entry.trace, { conversation: entry.conversation, seq: entry.seq })
  entry.trace = span.traceparent
  return span
}
