import { setTimeout as delay } from 'node:timers/promises'

const WITHIN_MS = 30_000

/** Waits for a fact, and for what was told in the same turn of the event loop: that leaves at its end. */
export async function until(what: string, fact: () => boolean): Promise<void> {
  for (const end = performance.now() + WITHIN_MS; !fact(); await delay(1)) {
    if (performance.now() > end) throw new Error(`never came true: ${what}`)
  }
  await new Promise(setImmediate)
}
