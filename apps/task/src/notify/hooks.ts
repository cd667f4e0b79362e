/** The webhooks that this worker knows: read anew every second and before a batch, never for each entry. */
import type { Logger } from '@tidings/service'
import { addDropped, allWebhooks, countDue, type Store, type WebhookRow } from '@tidings/store'
import { type Reader, startReader } from './reader.js'

/** Counting costs a look at each row that waits. */
const COUNT_EVERY_MS = 5_000
/** Deliveries that may wait for one webhook. */
const MOST_DUE = 100_000

export interface Hooks extends Reader {
  /** Those that are told of events now. */
  enabled(): readonly WebhookRow[]
  get(id: string): WebhookRow | undefined
  /** Takes deliveries into account. @returns false when too many wait for the webhook: then they are counted as dropped */
  admit(id: string, events?: number): boolean
  /** Deliveries that wait, by the last count. */
  readonly due: number
  /** Called after each reading. */
  onRead(listener: () => void): void
}

/** Resolves when they were read once, or could not be: then nothing is known until they can. */
export async function watchHooks(deps: {
  store: Store
  dropped(events: number): void
  log: Logger
  mostDue?: number
}): Promise<Hooks> {
  const { store, dropped, log, mostDue = MOST_DUE } = deps
  const listeners: (() => void)[] = []
  let known = new Map<string, WebhookRow>()
  let enabled: readonly WebhookRow[] = []
  let waiting = new Map<string, number>()
  let countedAt = Number.NEGATIVE_INFINITY
  const lost = new Map<string, number>()

  async function tellLost(): Promise<void> {
    for (const [id, events] of [...lost]) {
      await addDropped(store, id, events)
      // Not before, or a count that MySQL did not take would be lost itself; and more may have come meanwhile.
      const left = lost.get(id)! - events
      if (left > 0) lost.set(id, left)
      else lost.delete(id)
      log.warn({ webhook: id, events }, 'too much waits for a webhook; events are dropped')
    }
  }

  async function read(): Promise<void> {
    const rows = await allWebhooks(store)
    known = new Map(rows.map((row) => [row.id, row]))
    enabled = rows.filter(({ disabledAt }) => disabledAt === null)
    for (const listener of listeners) listener()
  }

  /** No batch waits for this. */
  async function tidy(): Promise<void> {
    await tellLost()
    if (known.size === 0 || performance.now() - countedAt <= COUNT_EVERY_MS) return
    waiting = await countDue(store)
    countedAt = performance.now()
  }

  const reader = await startReader({ read, tidy, what: 'webhooks', log })
  return {
    ...reader,
    enabled: () => enabled,
    get: (id) => known.get(id),
    admit(id, events = 1) {
      const now = waiting.get(id) ?? 0
      if (now + events <= mostDue) {
        waiting.set(id, now + events)
        return true
      }
      lost.set(id, (lost.get(id) ?? 0) + events)
      dropped(events)
      return false
    },
    get due() {
      return [...waiting.values()].reduce((sum, n) => sum + n, 0)
    },
    onRead(listener) {
      listeners.push(listener)
    },
  }
}
