/**
 * What files need when nobody calls: uses whose message never came are taken back, and files that nobody needs are marked as deleted.
 * Every logic process does it; doing it twice changes nothing. api deletes the bytes, then the rows go.
 */
import { AppError } from '@tidings/protocol'
import { type Logger, pause, type Stoppable } from '@tidings/service'
import {
  deleteUnneeded,
  type FileUse,
  findEntries,
  postponeUses,
  proveUses,
  removeUses,
  type Store,
  unprovenUses,
} from '@tidings/store'
import type { LogReader } from '@tidings/stream'
import { readLogged } from './logged.js'

const MOST_EVERY_MS = 60_000
const LEAST_EVERY_MS = 250
/** By then a message was appended, or never will be. */
const APPENDED_MS = 10 * 60_000
/** Longer than any upload may take. */
const UPLOADED_MS = 2 * 60 * 60_000
/** A deleted account is looked at for so long: files of before are gone by then. */
const OWNERS_ENDED_MS = 30 * 24 * 60 * 60_000
const AT_ONCE = 500

export interface FileSweeperDeps {
  store: Store
  reader: LogReader
  log: Logger
  /** How long a file may be referred to by nothing. */
  orphanMs: number
}

/** Sweeps now and again and again, more often where files are not kept for long. */
export function startFileSweeper(deps: FileSweeperDeps): Stoppable {
  const { store, log, orphanMs } = deps
  const everyMs = Math.min(MOST_EVERY_MS, Math.max(LEAST_EVERY_MS, orphanMs / 2))
  const stopper = new AbortController()

  async function attempt(what: string, work: () => Promise<void>): Promise<void> {
    if (stopper.signal.aborted) return
    try {
      await work()
    } catch (error) {
      // Away is said by the stores themselves, and the next sweep tries it again.
      if (error instanceof AppError) log.debug({ err: error, what }, 'looking after the files failed')
      else log.error({ err: error, what }, 'looking after the files failed')
    }
  }

  async function run(): Promise<void> {
    while (!stopper.signal.aborted) {
      const now = Date.now()
      await attempt('uses', () => settleUses(deps, new Date(now - Math.min(APPENDED_MS, orphanMs))))
      await attempt('files that nobody needs', () =>
        deleteUnneeded(store, {
          now: new Date(now),
          unusedBefore: new Date(now - orphanMs),
          begunBefore: new Date(now - UPLOADED_MS),
          ownersEndedAfter: new Date(now - OWNERS_ENDED_MS),
          limit: AT_ONCE,
        }),
      )
      await pause(everyMs, stopper.signal)
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

/**
 * Those whose message is stored are settled; those whose message is nowhere are taken back. The log is asked only for what MySQL does not
 * have, and then MySQL again: what is stored in between is in one of the two.
 * @throws AppError `unavailable`
 */
export async function settleUses(
  { store, reader }: { store: Store; reader: Pick<LogReader, 'after'> },
  before: Date,
): Promise<void> {
  const uses = await unprovenUses(store, before, AT_ONCE)
  const stored = await storedAmong(store, messagesOf(uses))
  const open = uses.filter(({ message }) => !stored.has(message))
  const logged = new Set<string>()
  for await (const found of readLogged(reader, open)) for (const { id } of found) logged.add(id)
  const nowhere = messagesOf(open).filter((message) => !logged.has(message))
  const storedSince = await storedAmong(store, nowhere)
  const now = new Date()
  await proveUses(store, [...stored, ...storedSince])
  await postponeUses(store, [...logged], now)
  await removeUses(
    store,
    nowhere.filter((message) => !storedSince.has(message)),
    now,
  )
}

const messagesOf = (uses: readonly FileUse[]): string[] => [...new Set(uses.map(({ message }) => message))]

const storedAmong = async (store: Store, messages: readonly string[]): Promise<Set<string>> =>
  new Set((await findEntries(store, messages)).map(({ id }) => id))
