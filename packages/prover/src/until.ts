/** Waits for facts. */
import { setTimeout as sleep } from 'node:timers/promises'

export const pause = (ms: number): Promise<void> => sleep(ms)

/** @throws Error when the check has not come true in time */
export async function until(what: string, check: () => unknown, withinMs: number): Promise<void> {
  if (!(await within(check, withinMs))) throw new Error(`never came true: ${what}`)
}

/** @returns whether it came true in time */
export async function within(check: () => unknown, ms: number): Promise<boolean> {
  for (const end = performance.now() + ms; ; await sleep(20)) {
    if (await check()) return true
    if (performance.now() > end) return false
  }
}
