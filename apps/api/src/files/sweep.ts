/** Deletes the bytes of files that logic says nobody needs. Every api process does it; doing it twice changes nothing. */
import { AppError } from '@tidings/protocol'
import { type Logger, pause, type Stoppable } from '@tidings/service'
import type { LogicCalls } from '../api.js'
import type { Blobs } from './blobs.js'

const MOST_EVERY_MS = 60_000
const LEAST_EVERY_MS = 250
const AT_ONCE = 100

export interface FileSweepDeps {
  logic: Pick<LogicCalls, 'deletedFiles' | 'forgetFiles'>
  blobs: Pick<Blobs, 'delete'>
  log: Logger
  /** How long a file may be referred to by nothing: where that is short, bytes go sooner, too. */
  orphanMs: number
}

/** Sweeps again and again, and not at once: where all start together logic is not there yet. */
export function startFileSweep({ logic, blobs, log, orphanMs }: FileSweepDeps): Stoppable {
  const everyMs = Math.min(MOST_EVERY_MS, Math.max(LEAST_EVERY_MS, orphanMs / 2))
  const stopper = new AbortController()

  async function sweep(): Promise<void> {
    for (let more = true; more && !stopper.signal.aborted; ) {
      const { ids } = await logic.deletedFiles({ limit: AT_ONCE })
      const gone = await deleteEach(ids)
      if (gone.length > 0) await logic.forgetFiles({ ids: gone })
      // Those that stay come first each time: when all of them do, it is the store for files that fails.
      more = ids.length === AT_ONCE && gone.length > 0
    }
  }

  /** One that cannot be deleted does not keep the others. @returns those that are gone */
  async function deleteEach(ids: readonly string[]): Promise<string[]> {
    const gone: string[] = []
    const failed: { file: string; err: unknown }[] = []
    for (const file of ids) {
      try {
        await blobs.delete(file)
        gone.push(file)
      } catch (err) {
        failed.push({ file, err })
      }
    }
    if (failed.length > 0) log.warn({ ...failed[0], files: failed.length }, 'bytes of deleted files are still there')
    return gone
  }

  async function run(): Promise<void> {
    for (;;) {
      await pause(everyMs, stopper.signal)
      if (stopper.signal.aborted) return
      try {
        await sweep()
      } catch (error) {
        // The next sweep tries it again.
        if (error instanceof AppError && error.cause === undefined) log.debug({ err: error }, 'deleting files failed')
        else log.warn({ err: error }, 'deleting files failed')
      }
    }
  }

  const running = run()
  return {
    async stop() {
      stopper.abort()
      await running
    },
  }
}
