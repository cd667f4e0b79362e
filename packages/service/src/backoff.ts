/** How long to wait before the next try: exponential, with full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter"). */
import { setTimeout as delay } from 'node:timers/promises'

/** @param attempt from 0 @returns milliseconds, at random between a floor of a tenth and the full step */
export function backoffMs(attempt: number, options: { firstMs: number; maxMs: number }, random = Math.random): number {
  const step = Math.min(options.maxMs, options.firstMs * 2 ** Math.min(attempt, 30))
  return Math.round(step * (0.1 + 0.9 * random()))
}

/** Whole seconds at random between two, both included: for a Retry-After, so that those who were refused do not all come back at once. */
export const jitterSeconds = (least: number, most: number, random = Math.random): number =>
  least + Math.floor(random() * (most - least + 1))

/** Waits, or returns at once when the signal is or becomes aborted. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await delay(ms, undefined, { signal })
  } catch (error) {
    if (!signal.aborted) throw error
  }
}
