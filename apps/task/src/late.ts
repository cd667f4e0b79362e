/**
 * Which entries come too late for a push. A worker that is far behind has nothing to gain from showing old entries one by one: the
 * devices read them from the logs at once, when they are told to look. So it skips ahead to what is fresh.
 */
import { type Delivery, type Keys, onServerOf, type Redis } from '@tidings/stream'

/** Beyond the few seconds in which a partition changes hands. */
const LATE_MS = 5_000
const LEARN_EVERY_MS = 10_000

export interface Lateness {
  /** A batch in two, the order kept in each. */
  split(batch: readonly Delivery[]): { fresh: readonly Delivery[]; late: readonly Delivery[] }
}

/** Resolves when the clocks of the partitions' servers are known: by them entries are dated, and by nobody else's. */
export async function startLateness(redis: Redis, keys: Keys): Promise<Lateness> {
  /** Server time minus performance.now(), in ms, by partition. */
  const clocks = new Map<number, number>()
  let learnedAt = Number.NEGATIVE_INFINITY

  async function learn(partition: number): Promise<void> {
    try {
      const [seconds = 0, micros = 0] = await onServerOf(redis, keys.messages(partition), (server) => server.time())
      clocks.set(partition, Number(seconds) * 1_000 + Number(micros) / 1_000 - performance.now())
    } catch {
      // Away: what was known last counts, and where nothing is known nothing is late.
    }
  }

  async function learnAll(): Promise<void> {
    learnedAt = performance.now()
    await Promise.all(Array.from({ length: keys.partitions }, (_, partition) => learn(partition)))
  }

  function isLate({ partition, streamId }: Delivery, now: number): boolean {
    const clock = clocks.get(partition)
    return clock !== undefined && Number(streamId.slice(0, streamId.indexOf('-'))) + LATE_MS < clock + now
  }

  await learnAll()
  return {
    split(batch) {
      const now = performance.now()
      if (now - learnedAt > LEARN_EVERY_MS) void learnAll()
      // In a partition the oldest come first: behind one that is fresh none is looked at.
      const fresh = new Set<number>()
      const late: Delivery[] = []
      const rest: Delivery[] = []
      for (const delivery of batch) {
        if (!fresh.has(delivery.partition) && isLate(delivery, now)) late.push(delivery)
        else {
          fresh.add(delivery.partition)
          rest.push(delivery)
        }
      }
      return { fresh: rest, late }
    },
  }
}
