/** One owner per partition and group, named by a key in etcd under the worker's lease. The decisions are made in claims.ts. */
import type { Logger, Stoppable } from '@tidings/service'
import type { ITxnResponse } from 'etcd3'
import type { ClaimsEffect, ClaimsEvent, Named } from './claim-events.js'
import { Claims } from './claims.js'
import { atOnce, type MirroredValue, mirror } from './etcd.js'
import type { Registry } from './registry.js'
import { sharing } from './shares.js'

/** What failed is tried again this often. */
const TICK_MS = 1_000

export interface OwnershipHandlers {
  /**
   * Makes this the least fence that settles, if it is higher than any before.
   * @returns undefined, or the fence that is as high or higher. @throws when nobody can tell
   */
  raise(partition: number, fence: number): Promise<number | undefined>
  /** The partition is ours, under this fence; perhaps it was before, under a lower one. */
  own(partition: number, fence: number): void
  /** Stop reading it; resolves when nothing of it is in hand. */
  release(partition: number): Promise<void>
}

export interface Ownership extends Stoppable {
  /**
   * Somebody knows a higher fence (`by`) than ours: what was held of this partition under `fence` is over. It is claimed anew, above
   * that, if etcd still names this worker.
   */
  refused(partition: number, fence: number, by: number): void
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
  const claims = new Claims(me, partitions)
  let onStopped: (() => void) | undefined

  function on(event: ClaimsEvent): void {
    for (const effect of claims.on(event)) {
      if (effect.type === 'own') own(effect.partition, effect.fence)
      else void perform(effect).then(on)
    }
    if (claims.stopped) onStopped?.()
  }

  /** Does what was decided, and answers. Never rejects: a failure is an answer too. */
  function perform(effect: Exclude<ClaimsEffect, { type: 'own' }>): Promise<ClaimsEvent> {
    switch (effect.type) {
      case 'claim':
        return claim(effect)
      case 'raise':
        return raise(effect.partition, effect.fence)
      case 'release':
        return release(effect)
      case 'unlist':
        return unlist(effect)
    }
  }

  function own(partition: number, fence: number): void {
    log.info({ group, partition, fence }, 'owns a partition')
    handlers.own(partition, fence)
  }

  async function claim({ type: _, ...wanted }: Extract<ClaimsEffect, { type: 'claim' }>): Promise<ClaimsEvent> {
    const { partition, expected, fence } = wanted
    const key = keys.partition(group, partition)
    try {
      const lease = registry.lease.id
      const answer = await etcd
        .if(key, 'Mod', '==', expected)
        .then(
          etcd
            .put(key)
            .value(JSON.stringify({ owner: me, fence }))
            .lease(lease),
        )
        .else(etcd.get(key))
        .commit()
      const revision = Number(answer.header.revision)
      if (answer.succeeded) return { type: 'claimed', claim: wanted, revision, lease }
      return { type: 'claim-lost', claim: wanted, found: foundIn(answer), revision }
    } catch (error) {
      log.debug({ err: error, group, partition }, 'claiming a partition failed; it is tried again')
      return { type: 'claim-failed', claim: wanted }
    }
  }

  async function raise(partition: number, fence: number): Promise<ClaimsEvent> {
    try {
      const by = await handlers.raise(partition, fence)
      return by === undefined ? { type: 'raised', partition, fence } : { type: 'refused', partition, fence, by }
    } catch (error) {
      log.debug({ err: error, group, partition }, 'raising a fence failed; it is tried again')
      return { type: 'raise-failed', partition }
    }
  }

  async function release({ partition, because }: Extract<ClaimsEffect, { type: 'release' }>): Promise<ClaimsEvent> {
    if (because === 'another-owner') log.warn({ group, partition }, 'etcd names another owner; this one stops')
    else log.info({ group, partition }, 'gives up a partition')
    try {
      await handlers.release(partition)
    } catch (error) {
      log.error({ err: error, group, partition }, 'releasing a partition')
    }
    return { type: 'released', partition }
  }

  async function unlist(effect: Extract<ClaimsEffect, { type: 'unlist' }>): Promise<ClaimsEvent> {
    const { partition, reading } = effect
    const key = keys.partition(group, partition)
    try {
      const answer = await etcd
        .if(key, 'Mod', '==', effect.revision)
        .then(etcd.delete().key(key))
        .else(etcd.get(key))
        .commit()
      return { type: 'unlisted', partition, found: foundIn(answer), revision: Number(answer.header.revision), reading }
    } catch (error) {
      log.debug({ err: error, group, partition }, 'giving up a partition failed; its lease will end')
      return { type: 'unlist-failed', partition }
    }
  }

  const partitionOf = (key: string): number => Number(key.slice(prefix.length))
  await registry.onLease(async (lease) => on({ type: 'leased', lease }))
  const keysMirror = await mirror(
    etcd,
    prefix,
    {
      reading: atOnce((all, revision) => {
        const read = new Map([...all].map(([key, value]) => [partitionOf(key), named(value)]))
        on({ type: 'read', named: read, revision })
      }),
      put: (key, value) => on({ type: 'named', partition: partitionOf(key), ...named(value) }),
      delete: (key, revision) => on({ type: 'unnamed', partition: partitionOf(key), revision }),
    },
    log,
  )
  await registry.watchNodes('task', (nodes) => {
    // A worker that does not serve the group takes no share of it.
    const serving = [...nodes].flatMap(([name, { groups, unable }]) =>
      groups && !groups.includes(group) ? [] : [{ name, unable: unable?.includes(group) ?? false }],
    )
    on({ type: 'workers', ...sharing(me, serving) })
  })
  const timer = setInterval(() => on({ type: 'tick' }), TICK_MS)

  let stopping: Promise<void> | undefined
  return {
    refused(partition, fence, by) {
      on({ type: 'refused', partition, fence, by })
    },
    stop() {
      stopping ??= (async () => {
        clearInterval(timer)
        const stopped = new Promise<void>((resolve) => {
          onStopped = resolve
        })
        on({ type: 'stop' })
        await stopped
        await keysMirror.stop()
      })()
      return stopping
    },
  }
}

/** The key that a refused transaction found. */
function foundIn(answer: ITxnResponse): Named | undefined {
  const there = answer.succeeded ? undefined : answer.responses[0]?.response_range?.kvs[0]
  return there && named({ value: there.value.toString(), revision: Number(there.mod_revision) })
}

/** A key's value: owner and fence as JSON. A bare name is what versions before wrote: then the revision is the fence. */
export function named({ value, revision }: MirroredValue): Named {
  try {
    const { owner, fence } = JSON.parse(value) as { owner?: unknown; fence?: unknown }
    if (typeof owner === 'string' && typeof fence === 'number') return { owner, fence, revision }
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
  }
  return { owner: value, fence: revision, revision }
}
