/** Starting and stopping: what was started last is stopped first, each step named, logged and bounded. */
import closeWithGrace from 'close-with-grace'
import { ConfigError, EX_CONFIG } from './env.js'
import type { Logger } from './log.js'

export interface Stoppable {
  /** May be called twice. */
  stop(): Promise<void>
}

interface Step {
  name: string
  stop: () => Promise<void> | void
  boundMs: number
}

/** The stack of what runs. */
export class Lifecycle implements Stoppable {
  readonly #steps: Step[] = []
  #stopping: Promise<void> | undefined

  constructor(private readonly log: Logger) {}

  /** Registers how to stop something that runs now. @param boundMs how long its stop may take before the next one's turn */
  add(name: string, stop: () => Promise<void> | void, boundMs = 2_000): void {
    this.#steps.push({ name, stop, boundMs })
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#unwind()
    return this.#stopping
  }

  async #unwind(): Promise<void> {
    for (let step = this.#steps.pop(); step; step = this.#steps.pop()) {
      const began = performance.now()
      try {
        await withBound(Promise.resolve(step.stop()), step.boundMs)
        this.log.debug({ step: step.name, ms: Math.round(performance.now() - began) }, 'stopped')
      } catch (error) {
        this.log.warn({ step: step.name, err: error }, 'did not stop cleanly')
      }
    }
  }
}

/** Settles as the promise does, or rejects after `ms`. */
export async function withBound<T>(promise: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const bound = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`took longer than ${ms} ms`)), ms)
  })
  try {
    return await Promise.race([promise, bound])
  } finally {
    clearTimeout(timer)
  }
}

/**
 * The body of every main.ts: start, then stop on SIGINT, SIGTERM or a crash; a second signal or an overrun ends at once.
 * Wrong settings end with their one line and exit status 78.
 */
export async function runMain(start: () => Promise<{ log: Logger; stop(): Promise<void> }>): Promise<void> {
  try {
    const app = await start()
    closeWithGrace({ delay: 4_500, logger: undefined }, async ({ err, signal }) => {
      if (err) app.log.fatal({ err }, 'crashed')
      else app.log.info({ signal }, 'stopping')
      await app.stop()
      app.log.info('stopped')
    })
  } catch (error) {
    if (error instanceof ConfigError) {
      process.stderr.write(`${error.message}\n`)
      process.exit(EX_CONFIG)
    }
    process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`)
    process.exit(1)
  }
}
