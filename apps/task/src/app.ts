/** Puts a task worker together, and takes it apart in order. */
import { randomUUID } from 'node:crypto'
import { connectRegistry, type Ownership, ownPartitions } from '@tidings/registry'
import { gaugeBy, Lifecycle, type Logger, type MetricsRegistry, startOps, type Tracing } from '@tidings/service'
import {
  checkRedis,
  connectRedis,
  createKeys,
  createStreamMetrics,
  ensureGroups,
  type Group,
  type Lag,
  raiseGroupFence,
  readLag,
  requireCapacity,
  startConsumer,
} from '@tidings/stream'
import { watchAbility } from './ability.js'
import type { TaskConfig } from './config.js'
import { groups } from './groups.js'

export const VERSION = '0.1.0'
const TIDY_MS = 5_000

export interface TaskApp {
  opsPort: number
  /** Partitions that this worker owns now. */
  owned(group: Group): number[]
  stop(): Promise<void>
}

/** Starts a worker for the configured groups. Throws, with nothing left running, when something it needs does not answer. */
export async function startTask(
  config: TaskConfig,
  env: { log: Logger; metrics: MetricsRegistry; tracing: Tracing },
): Promise<TaskApp> {
  const { log, metrics, tracing } = env
  const life = new Lifecycle(log)
  try {
    const redis = await connectRedis(config.redisUrl, log)
    life.add('redis', () => redis.disconnect())
    await checkRedis(redis)
    const keys = createKeys(config.namespace, config.partitions)
    const registry = await connectRegistry({
      urls: config.etcdUrls,
      namespace: config.namespace,
      leaseSeconds: config.leaseS,
      log,
    })
    life.add('registry', () => registry.stop())
    const bootId = randomUUID()
    const streamMetrics = createStreamMetrics(metrics)
    const owners = new Map<Group, ReadonlyMap<number, unknown>>()
    const able = new Map<Group, () => Promise<unknown>>()
    const checks: Record<string, () => Promise<unknown>> = { redis: () => redis.ping(), etcd: () => registry.check() }
    checks['dead letters'] = async () => {
      for (const [group, owned] of owners)
        await Promise.all([...owned.keys()].map((partition) => requireCapacity(redis, keys, group, partition)))
    }
    const all = Array.from({ length: config.partitions }, (_, partition) => partition)

    const joins: (() => Promise<void>)[] = []
    for (const group of config.groups) {
      const { window, gatherMs, gatherFrom, roundMs, settleMs, start } = groups[group]
      await ensureGroups(redis, keys, group, all)
      const {
        handler,
        checks: ofGroup,
        able: ableTo,
        tidy,
      } = await start({
        ...{ config, registry, redis, keys, log, metrics, tracing, life },
        owns: (partition) => owners.get(group)?.has(partition) ?? false,
      })
      Object.assign(checks, ofGroup)
      if (ableTo) able.set(group, ableTo)
      let ownership: Ownership | undefined
      const consumer = startConsumer({
        group,
        consumer: `${config.instance}.${bootId.slice(0, 8)}`,
        keys,
        redis,
        handler,
        window,
        gatherMs,
        gatherFrom,
        roundMs,
        settleMs,
        onDisowned: (partition, fence, by) => ownership?.refused(partition, fence, by),
        metrics: streamMetrics,
        log,
      })
      life.add(`${group} consumer`, () => consumer.stop())
      owners.set(group, consumer.owned)
      if (tidy) {
        const timer = setInterval(() => {
          for (const [partition, { fence, inHand }] of consumer.owned) {
            tidy({ partition, fence }, () => inHand.size === 0).catch((error: unknown) =>
              log.debug({ err: error, partition }, 'tidying; it is tried again'),
            )
          }
        }, TIDY_MS)
        life.add(`${group} housekeeping`, () => clearInterval(timer))
      }
      joins.push(async () => {
        const joined = await ownPartitions({
          registry,
          group,
          partitions: config.partitions,
          me: config.instance,
          handlers: {
            raise: (partition, fence) => raiseGroupFence(redis, keys, { group, partition, fence }),
            own: (partition, fence) => consumer.own(partition, fence),
            release: (partition) => consumer.release(partition),
          },
          log,
        })
        ownership = joined
        life.add(`${group} partitions`, () => joined.stop())
      })
    }

    gaugeBy(
      metrics,
      'tidings_group_entries',
      'Entries of a group by partition: lag (not read), pending (not settled), dead.',
      ['group', 'partition', 'state'],
      async () => (await Promise.all([...owners].map(([group, owned]) => lagRows(group, owned.keys())))).flat(),
    )
    async function lagRows(group: Group, partitions: Iterable<number>) {
      const rows: Lag[] = await readLag(redis, keys, group, partitions)
      return rows.flatMap(({ partition, lag, pending, dead }) =>
        Object.entries({ lag, pending, dead }).map(([state, value]) => ({
          labels: { group, partition: String(partition), state },
          value,
        })),
      )
    }

    const ops = await startOps({ ...config.ops, metrics, ready: checks })
    life.add('ops', () => ops.stop())
    // Listed before it takes its share: the shares are counted over the listed workers.
    await registry.announce('task', config.instance, {
      address: `${config.ops.host}:${ops.port}`,
      version: VERSION,
      bootId,
      groups: config.groups,
    })
    for (const join of joins) await join()
    const ability = watchAbility({
      able,
      // Not a word where all can be served.
      tell: (unable) => registry.update({ unable: unable.length > 0 ? unable : undefined }),
      log,
    })
    life.add('ability', () => ability.stop())
    // Taken off the list first, so that the others count their shares without this one at once.
    life.add('listing', () => registry.withdraw())
    log.info({ groups: config.groups }, 'task is ready')
    return {
      opsPort: ops.port,
      owned: (group) => [...(owners.get(group)?.keys() ?? [])],
      stop: () => life.stop(),
    }
  } catch (error) {
    await life.stop()
    throw error
  }
}
