/**
 * Whether this worker can serve its groups. What all of them have lost, nobody can help; but a worker that alone is cut off from MySQL
 * would hold its share of the partitions for as long. It says so in its listing, and the others take the share (registry's partitions.ts).
 */
import { type Logger, pause, type Stoppable } from '@tidings/service'
import type { Group } from '@tidings/stream'

const EVERY_MS = 5_000
const EVERY_WHILE_UNABLE_MS = 1_000
/** Longer than a restart of MySQL, or a pause of its host, takes mostly. */
const UNABLE_AFTER_MS = 20_000

/**
 * @param able by group: rejects while something that the group needs does not answer
 * @param tell told of every change of the groups that cannot be served; when it fails it is told again
 * @param afterMs how long a group must have been unable
 */
export function watchAbility(
  deps: {
    able: ReadonlyMap<Group, () => Promise<unknown>>
    tell(unable: readonly Group[]): Promise<void>
    log: Logger
  },
  afterMs: number = UNABLE_AFTER_MS,
): Stoppable {
  const { able, tell, log } = deps
  const stopper = new AbortController()
  const { signal } = stopper
  /** When the group was first found to be unable. */
  const since = new Map<Group, number>()
  let told = ''

  async function look(group: Group, answers: () => Promise<unknown>): Promise<void> {
    const began = performance.now()
    try {
      await answers()
      since.delete(group)
    } catch {
      // Away is said by the store itself.
      if (!since.has(group)) since.set(group, began)
    }
  }

  async function say(): Promise<void> {
    const now = performance.now()
    const unable = [...since].flatMap(([group, at]) => (now - at >= afterMs ? [group] : [])).sort()
    if (unable.join() === told) return
    await tell(unable)
    told = unable.join()
    if (unable.length > 0)
      log.warn({ unable }, 'what these groups need does not answer; other workers may have their share')
    else log.info('all groups can be served again')
  }

  async function run(): Promise<void> {
    while (!signal.aborted) {
      await Promise.all([...able].map(([group, answers]) => look(group, answers)))
      if (signal.aborted) return
      await say().catch((error: unknown) => log.debug({ err: error }, 'what cannot be served is told once more'))
      await pause(since.size > 0 || told !== '' ? EVERY_WHILE_UNABLE_MS : EVERY_MS, signal)
    }
  }

  void run()
  return {
    /** Does not wait for an answer that hangs: nothing is told after it. */
    async stop() {
      stopper.abort()
    },
  }
}
