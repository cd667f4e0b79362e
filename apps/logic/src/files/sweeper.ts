/**
 * What files need when nobody calls: uses whose message never came, or shows something else by now, are taken back, and files that nobody
 * needs are marked as deleted. Every logic process does it; doing it twice changes nothing. api deletes the bytes, then the rows go.
 */
import { AppError, type Entry } from '@tidings/protocol'
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
import { findShown } from '../shown.js'
import { type AccessDeps, showsThis } from './access.js'
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
/** So often at most, one after the other: nothing else is kept waiting by what has piled up, and MySQL has time for others. */
const ROUNDS = 200
const BETWEEN_ROUNDS_MS = 20

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

  /** @param work says whether there may be more of it */
  async function attempt(what: string, work: () => Promise<boolean>): Promise<void> {
    try {
      for (let round = 0; round < ROUNDS && !stopper.signal.aborted; round++) {
        if (!(await work())) return
        await pause(BETWEEN_ROUNDS_MS, stopper.signal)
      }
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
 * Settles uses whose message shows their file where it is stored, and takes those back whose message is nowhere or shows it no more. Redis
 * is asked only for what MySQL does not say, and then MySQL again: what is stored in between is in one of the two.
 * @returns whether there may be more of them
 * @throws AppError `unavailable`
 */
export async function settleUses(deps: Pick<AccessDeps, 'store' | 'reader'>, before: Date): Promise<boolean> {
  const { store, reader } = deps
  const uses = await unprovenUses(store, before, AT_ONCE)
  const stored = byId(await findEntries(store, messagesOf(uses)))
  const proven = uses.filter((use) => isShown(use, stored))
  const open = uses.filter((use) => !isShown(use, stored))
  // What is on its way to MySQL, as a message or as an edit of one.
  const coming = byId(await findShown(deps, messagesOf(open)))
  const logged = new Set<string>()
  const unstored = open.filter(({ message }) => !stored.has(message))
  for await (const found of readLogged(reader, unstored)) for (const { id } of found) logged.add(id)
  const unseen = open.filter((use) => !logged.has(use.message) && !isShown(use, coming))
  const storedSince = byId(await findEntries(store, messagesOf(unseen)))
  const gone = new Set(unseen.filter((use) => !mayShow(use, stored, storedSince)))
  const waiting = open.filter((use) => !gone.has(use))
  const now = new Date()
  await proveUses(store, proven, before)
  await postponeUses(store, waiting, before, now)
  await removeUses(store, [...gone], before, now)
  return uses.length === AT_ONCE
}

const messagesOf = (uses: readonly FileUse[]): string[] => [...new Set(uses.map(({ message }) => message))]
const byId = (entries: readonly Entry[]): Map<string, Entry> => new Map(entries.map((entry) => [entry.id, entry]))

function isShown({ file, message }: FileUse, entries: ReadonlyMap<string, Entry>): boolean {
  const entry = entries.get(message)
  return entry !== undefined && showsThis(entry, file)
}

/** Of what was stored only now nobody has asked Redis for its edits. */
const mayShow = (use: FileUse, before: ReadonlyMap<string, Entry>, since: ReadonlyMap<string, Entry>): boolean =>
  isShown(use, since) || (since.has(use.message) && !before.has(use.message))
