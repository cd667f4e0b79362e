/**
 * Waiting until MySQL has an accepted message: where it lies in its partition's stream is compared with persist's mark. That comparison
 * holds within the generation that accepted it; after a change nobody can tell, and the wait ends with what is known.
 */
import type { Logger, Stoppable } from '@tidings/service'
import { type Appended, isBelow, type Keys, parseGeneration, parseStreamId, type Redis } from '@tidings/stream'

const LOOK_EVERY_MS = 20
/** Waits at once; who comes beyond is told what is known at once. */
const MAX_WAITS = 10_000

type Sent = Pick<Appended, 'streamId' | 'partition' | 'generation'>

interface Wait extends Sent {
  until: number
  resolve(isPersisted: boolean): void
}

export interface Persisted extends Stoppable {
  /** @returns whether MySQL is known to have it before the time is over */
  wait(sent: Sent, withinMs: number): Promise<boolean>
}

/** Looks at the marks of those partitions in which somebody waits, and at no others. */
export function createPersisted(deps: { redis: Redis; keys: Keys; log: Logger }): Persisted {
  const { redis, keys, log } = deps
  const waits = new Map<number, Set<Wait>>()
  let count = 0
  let timer: NodeJS.Timeout | undefined

  function end(wait: Wait, isPersisted: boolean): void {
    const others = waits.get(wait.partition)
    if (!others?.delete(wait)) return
    if (others.size === 0) waits.delete(wait.partition)
    count--
    wait.resolve(isPersisted)
  }

  async function look(partition: number): Promise<void> {
    // The mark first: an older one does no harm.
    const [mark, record] = await Promise.all([
      redis.get(keys.mark(partition, 'persist')),
      redis.get(keys.generation(partition)),
    ])
    const generation = parseGeneration(record ?? '')?.number
    for (const wait of waits.get(partition) ?? []) {
      if (wait.generation !== generation) end(wait, false)
      else if (mark && isBelow(parseStreamId(wait.streamId), parseStreamId(mark))) end(wait, true)
    }
  }

  async function lookAll(): Promise<void> {
    try {
      if (redis.status === 'ready') await Promise.all([...waits.keys()].map(look))
    } catch (error) {
      log.debug({ err: error }, 'reading the marks failed; it is tried again')
    }
    const now = performance.now()
    for (const ofPartition of waits.values()) for (const wait of ofPartition) if (now >= wait.until) end(wait, false)
    timer = undefined
    lookSoon()
  }

  function lookSoon(): void {
    if (count > 0) timer ??= setTimeout(() => void lookAll(), LOOK_EVERY_MS)
  }

  return {
    wait(sent, withinMs) {
      if (count >= MAX_WAITS) return Promise.resolve(false)
      return new Promise((resolve) => {
        const wait = { ...sent, until: performance.now() + withinMs, resolve }
        const others = waits.get(sent.partition)
        if (others) others.add(wait)
        else waits.set(sent.partition, new Set([wait]))
        count++
        lookSoon()
      })
    },
    async stop() {
      clearTimeout(timer)
      for (const ofPartition of waits.values()) for (const wait of ofPartition) end(wait, false)
    },
  }
}
