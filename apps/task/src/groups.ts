/**
 * The consumer groups, in one table. A further group is a file with its handler and a row here (and its name in stream's `Group`
 * and in TIDINGS_TASK_GROUPS). What a worker does not serve costs nothing.
 */
import { mirrorRoutes, type Registry } from '@tidings/registry'
import { gauge, type Lifecycle, type Logger, type MetricsRegistry, type Tracing } from '@tidings/service'
import { connectStore } from '@tidings/store'
import { createJanitor, type Group, type Handler, type Keys, type Owner, type Redis } from '@tidings/stream'
import type { TaskConfig } from './config.js'
import { createRetentionMetrics, createSearchMetrics } from './metrics.js'
import { startNotify } from './notify/notify.js'
import { createPersister } from './persist.js'
import { startPusher } from './push.js'
import { startRetention } from './retention.js'
import { startSearchIndex } from './search-index.js'

export interface GroupDeps {
  config: TaskConfig
  registry: Registry
  redis: Redis
  keys: Keys
  /** Does this worker own the partition in this group now? */
  owns(partition: number): boolean
  log: Logger
  metrics: MetricsRegistry
  tracing: Tracing
  /** Whatever a group starts registers its stop here. */
  life: Lifecycle
}

export interface GroupRow {
  /** Batches in the handler's hands at once. One keeps a partition's entries strictly one after the other. */
  window: number
  /** Milliseconds to wait for more before the next read when the stream runs thin: denser batches cost less. */
  gatherMs: number
  /** It waits only when so many entries a second come: what comes now and then is never delayed. */
  gatherFrom: number
  /** On a cluster, milliseconds between two rounds of reading while much comes. */
  roundMs: number
  /** How long a finished entry may wait for others to be settled with, in milliseconds. Who takes over from a dead worker does these again. */
  settleMs: number
  start(deps: GroupDeps): Promise<StartedGroup>
}

export interface StartedGroup {
  handler: Handler
  /** By name: each rejects when something that only this group needs does not answer, or somebody must look at it. */
  checks?: Record<string, () => Promise<unknown>>
  /** Rejects while something that only this group needs does not answer this worker: then others have its share. */
  able?: () => Promise<unknown>
  /**
   * Regular housekeeping of a partition that this worker owns.
   * @param quiet nothing of it is in the handler's hands
   */
  tidy?(owner: Owner, quiet: () => boolean): Promise<void>
}

export const groups: Record<Group, GroupRow> = {
  push: {
    window: 4,
    gatherMs: 3,
    gatherFrom: 1_500,
    roundMs: 9,
    settleMs: 100,
    async start(deps) {
      const { registry, redis, keys, log, metrics, tracing, config, life } = deps
      // The sessions must be known before the first entry is read, or they would be passed over.
      const routes = await mirrorRoutes(registry, log)
      life.add('routes', () => routes.stop())
      gauge(
        metrics,
        'tidings_routed_sessions',
        'Sessions in this worker’s copy of the registry.',
        () => routes.sessions,
      )
      const pusher = await startPusher({
        registry,
        where: routes,
        redis,
        keys,
        jwtSecret: config.jwtSecret,
        log,
        metrics,
        tracing,
      })
      life.add('pusher', () => pusher.stop())
      return { handler: pusher }
    },
  },
  persist: {
    window: 1,
    gatherMs: 30,
    gatherFrom: 0,
    roundMs: 60,
    // Who sends with "wait": "persisted" waits for it.
    settleMs: 25,
    async start({ config, redis, keys, log, metrics, tracing, life }) {
      const store = connectStore(config.mysqlUrl, log)
      life.add('mysql', () => store.stop())
      const janitor = createJanitor(redis, keys)
      const persister = createPersister({ store, redis, keys, log, metrics, tracing })
      const retention = startRetention({
        ...{ store, redis, keys, log, ...config.retention, owner: config.instance },
        removed: createRetentionMetrics(metrics),
      })
      life.add('retention', () => retention.stop())
      if (config.search) {
        const index = startSearchIndex({
          ...{ store, log, perS: config.search.perS, owner: config.instance },
          stored: () => persister.stored,
          indexed: createSearchMetrics(metrics),
        })
        life.add('index of words', () => index.stop())
      }
      return {
        handler: persister,
        able: () => store.ping(),
        checks: { persist: () => store.ping(), 'lost entries': () => persister.checkLost() },
        async tidy(owner, quiet) {
          await janitor.trim(owner.partition)
          // What is missing in MySQL must be found before the logs of idle conversations go.
          if (await persister.compare(owner, quiet)) await janitor.forgetIdle(owner.partition)
        },
      }
    },
  },
  notify: {
    window: 1,
    // A hook or a push to a device that is away is not in a hurry.
    gatherMs: 250,
    gatherFrom: 0,
    roundMs: 250,
    settleMs: 100,
    start: (deps) => startNotify({ ...deps, mysqlUrl: deps.config.mysqlUrl, config: deps.config.notify }),
  },
}
