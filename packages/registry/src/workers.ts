/** Worker ids: what makes the Snowflakes of two processes differ. */
import { randomInt } from 'node:crypto'
import type { Logger, Stoppable } from '@tidings/service'
import { type HeldLease, holdLease } from './etcd.js'
import type { Registry } from './registry.js'

/** Ten bits of a Snowflake. */
export const WORKER_IDS = 1_024
/** Long, so that a short absence of etcd does not stop sending. */
const LEASE_S = 3_600
/** Ids are minted only while the lease surely lives. */
const MARGIN_MS = 60_000

export interface WorkerId extends Stoppable {
  readonly n: number
  /** May ids be minted with it now? False when the lease may have ended and another process may hold the same number. */
  fresh(): boolean
}

/** Takes a number that no living process has. @throws when none is free or etcd does not answer */
export async function claimWorkerId(registry: Registry, holder: string, log: Logger): Promise<WorkerId> {
  const { etcd, keys } = registry
  let n = -1

  async function claim(leaseId: string): Promise<void> {
    const taken = new Set(
      (await etcd.getAll().prefix(keys.workers()).keys()).map((key) => Number(key.split('/').at(-1))),
    )
    const start = randomInt(WORKER_IDS)
    for (let i = 0; i < WORKER_IDS; i++) {
      const candidate = (start + i) % WORKER_IDS
      if (taken.has(candidate)) continue
      const key = keys.worker(candidate)
      const won = await etcd.if(key, 'Create', '==', 0).then(etcd.put(key).value(holder).lease(leaseId)).commit()
      if (won.succeeded) {
        n = candidate
        return
      }
    }
    throw new Error(`All ${WORKER_IDS} worker ids are taken; they are freed an hour after their processes died.`)
  }

  const lease: HeldLease = await holdLease({ etcd, ttlSeconds: LEASE_S, onGranted: claim, log })
  return {
    get n() {
      return n
    },
    fresh: () => lease.ageMs < LEASE_S * 1_000 - MARGIN_MS,
    stop: () => lease.revoke(),
  }
}
