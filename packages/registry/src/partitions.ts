/** One owner per partition and group, named by a key in etcd under the worker's lease. */
import type { Logger, Stoppable } from '@tidings/service'
import { type MirroredValue, mirror } from './etcd.js'
import type { Registry } from './registry.js'
import { planShares } from './shares.js'

const REPLAN_MS = 1_000

export interface OwnershipHandlers {
  /** The partition is ours, under this fence. */
  own(partition: number, fence: number): void
  /** Stop reading it; resolves when nothing of it is in hand. */
  release(partition: number): Promise<void>
}

export interface Ownership extends Stoppable {
  /** A newer fence was met: what is held of this partition is over; it is claimed anew if etcd still names this worker. */
  dropped(partition: number): void
}

/**
 * Takes this worker's share of a group's partitions and keeps it balanced while workers come and go. While etcd is away, what is
 * owned stays owned; it ends when etcd names another owner, or when a write is fenced off.
 * @param me this worker's listing under nodes/task
 */
export async function ownPartitions(options: {
  registry: Registry
  group: string
  partitions: number
  me: string
  handlers: OwnershipHandlers
  log: Logger
}): Promise<Ownership> {
  const { registry, group, partitions, me, handlers, log } = options
  const { etcd, keys } = registry
  const prefix = keys.partitions(group)
  let workers: string[] = []
  const owners = new Map<number, { worker: string; fence: number }>()
  /** What this process works on, with the fence under which it does. */
  const held = new Map<number, number>()
  let planning: Promise<void> | undefined
  let again = false
  let stopped = false

  function see(key: string, { value, revision }: MirroredValue): void {
    owners.set(Number(key.slice(prefix.length)), { worker: value, fence: revision })
  }

  const ownersMirror = await mirror(
    etcd,
    prefix,
    {
      reset(all) {
        owners.clear()
        for (const [key, value] of all) see(key, value)
        replan()
      },
      put(key, value) {
        see(key, value)
        replan()
      },
      delete(key) {
        owners.delete(Number(key.slice(prefix.length)))
        replan()
      },
    },
    log,
  )
  await registry.watchNodes('task', (nodes) => {
    // A worker that does not serve the group takes no share of it.
    workers = [...nodes].flatMap(([name, { groups }]) => (groups && !groups.includes(group) ? [] : [name]))
    replan()
  })
  const timer = setInterval(replan, REPLAN_MS)

  function replan(): void {
    if (stopped) return
    if (planning) {
      again = true
      return
    }
    planning = plan()
      .catch((error: unknown) => log.debug({ err: error, group }, 'planning the partitions failed; it is tried again'))
      .finally(() => {
        planning = undefined
        if (!again) return
        again = false
        replan()
      })
  }

  async function plan(): Promise<void> {
    await dropLost()
    const view = { me, workers, partitions, owners: new Map([...owners].map(([p, { worker }]) => [p, worker])) }
    // A key with our name that this process did not write is left from its dead predecessor: no need to wait for the lease.
    for (const [partition, { worker, fence }] of owners) {
      if (worker === me && !held.has(partition)) await take(partition, fence)
    }
    const { claim, release } = planShares(view)
    for (const partition of release) await giveUp(partition)
    await Promise.all(claim.map((partition) => take(partition)))
  }

  /** Stops what etcd says is another's now; a key that is merely gone (lost lease) is claimed again in the same breath. */
  async function dropLost(): Promise<void> {
    for (const [partition, fence] of [...held]) {
      const owner = owners.get(partition)
      if (owner && (owner.worker !== me || owner.fence !== fence)) {
        held.delete(partition)
        log.warn({ group, partition, owner: owner.worker }, 'etcd names another owner; this one stops')
        await handlers.release(partition)
      }
    }
  }

  /** @param left revision of the key that a dead predecessor left, or 0 when there is none */
  async function take(partition: number, left = 0): Promise<void> {
    const key = keys.partition(group, partition)
    const claim = await etcd.if(key, 'Mod', '==', left).then(etcd.put(key).value(me).lease(registry.lease.id)).commit()
    if (!claim.succeeded || stopped) return
    const fence = Number(claim.header.revision)
    owners.set(partition, { worker: me, fence })
    held.set(partition, fence)
    log.info({ group, partition, fence }, 'owns a partition')
    handlers.own(partition, fence)
  }

  async function giveUp(partition: number): Promise<void> {
    const fence = held.get(partition)
    held.delete(partition)
    await handlers.release(partition)
    const key = keys.partition(group, partition)
    if (fence !== undefined) await etcd.if(key, 'Mod', '==', fence).then(etcd.delete().key(key)).commit()
    owners.delete(partition)
    log.info({ group, partition }, 'gave up a partition')
  }

  return {
    dropped(partition) {
      held.delete(partition)
    },
    async stop() {
      if (stopped) return
      stopped = true
      clearInterval(timer)
      await planning
      await ownersMirror.stop()
      await Promise.all([...held.keys()].map(giveUp))
    },
  }
}
