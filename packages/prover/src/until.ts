/** Waits for facts. */
import { setTimeout as sleep } from 'node:timers/promises'

export const pause = (ms: number): Promise<void> => sleep(ms)

/** @throws Error when the check has not come true in time */
export async function until(what: string, check: () => unknown, withinMs: number): Promise<void> {
  if (!(await within(check, withinMs))) throw new Error(`never came true: ${what}`)
}

/** @throws Error when the work does not end in time, or is interrupted; nobody waits for it then, though it goes on */
export async function inTime<T>(what: string, work: Promise<T>, ms: number, signal?: AbortSignal): Promise<T> {
  const late = new AbortController()
  const giveUp = AbortSignal.any(signal ? [late.signal, signal] : [late.signal])
  // What it fails with later is nobody's any more.
  work.catch(() => undefined)
  const timer = setTimeout(() => late.abort(), ms)
  try {
    return await new Promise<T>((resolve, reject) => {
      const stop = (): void =>
        reject(new Error(late.signal.aborted ? `${what}: no end after ${ms} ms` : `${what}: interrupted`))
      if (giveUp.aborted) stop()
      giveUp.addEventListener('abort', stop, { once: true })
      work.then(resolve, reject)
    })
  } finally {
    clearTimeout(timer)
  }
}

/** @returns whether it came true in time */
export async function within(check: () => unknown, ms: number): Promise<boolean> {
  for (const end = performance.now() + ms; ; await sleep(20)) {
    if (await check()) return true
    if (performance.now() > end) return false
  }
}
