/** Work beside the streams that one worker of all does, in turns, as the fenced row in `jobs` says. */
import { AppError } from '@tidings/protocol'
import { type Logger, pause, type Stoppable } from '@tidings/service'
import { claimJob, giveUpJob, holdJob, type Job, type Store } from '@tidings/store'

/** How often those that do not have the job try to get it. */
const TRY_MS = 5_000
/** An owner with nothing to write says this often that it is there; well within the time that it keeps the job. */
const HOLD_MS = 10_000

export interface JobDeps {
  store: Store
  name: string
  /** Of the process. */
  owner: string
  /** Pause between two turns. */
  everyMs: number
  /**
   * One turn. Whatever it writes, it writes in transactions that hold the job.
   * @returns false when it found the job to be another's
   * @throws whatever fails: the next turn tries it again
   */
  run(job: Job, signal: AbortSignal): Promise<boolean>
  log: Logger
}

export function startJob({ store, name, owner, everyMs, run, log }: JobDeps): Stoppable {
  const stopper = new AbortController()
  const { signal } = stopper
  let job: Job | undefined
  let heldAt = 0

  async function turn(): Promise<void> {
    try {
      if (!job) {
        job = await claimJob(store, name, owner)
        if (!job) return
        heldAt = performance.now()
        log.info({ job: name, fence: job.fence }, 'this worker has the job')
      }
      if (!(await run(job, signal))) disowned()
    } catch (error) {
      // Away is said by the stores themselves.
      if (error instanceof AppError)
        log.debug({ err: error, job: name }, 'a turn of the job failed; the next one tries it')
      else log.error({ err: error, job: name }, 'a turn of the job failed; the next one tries it')
    }
  }

  function disowned(): void {
    log.info({ job: name }, 'another worker has the job')
    job = undefined
  }

  /** Says now and then that it is there: a turn may be far off. */
  async function rest(ms: number): Promise<void> {
    const until = performance.now() + ms
    while (!signal.aborted) {
      const left = until - performance.now()
      if (left <= 0) return
      await pause(Math.min(left, HOLD_MS), signal)
      if (!job || signal.aborted || performance.now() - heldAt < HOLD_MS) continue
      const mine = job
      try {
        if (await store.use((db) => holdJob(db, mine))) heldAt = performance.now()
        else disowned()
      } catch {
        // The database is away: whoever finds it first has the job.
      }
    }
  }

  async function loop(): Promise<void> {
    while (!signal.aborted) {
      await turn()
      await rest(job ? everyMs : Math.max(everyMs, TRY_MS))
    }
    if (job) await giveUpJob(store, job).catch(() => undefined)
  }

  const running = loop()
  return {
    async stop() {
      stopper.abort()
      await running
    },
  }
}
