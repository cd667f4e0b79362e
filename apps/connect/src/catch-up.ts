/**
 * Catching up: entries after a session's position, read from the conversation's log, then from MySQL through logic, shown at the
 * reader's pace; and the cutover to live delivery, which is the moment when a flow has nothing known left to read. The same few lines
 * serve the backlog of a new session, a hole that a push left, and a re-check that found more than was pushed.
 */
import type { LogicClient } from '@tidings/accept'
import { AppError, type Entry, messageFrame } from '@tidings/protocol'
import { backoffMs, type Logger, pause } from '@tidings/service'
import type { LogReader } from '@tidings/stream'
import type { Flow } from './sequencer.js'
import type { Session } from './session.js'
import type { Slots } from './slots.js'

const PAGE = 100
/** How long a hole may resist before it becomes a gap. */
const GAP_AFTER_MS = 2_000
/** How long a late push may still fill a hole by itself. */
const HOLE_WAIT_MS = 50
/** A client that takes gaps gets this much of a longer backlog. */
const NEWEST_OF_GAP = 100
const LONGEST_WITHOUT_GAP = 500

export interface Page {
  entries: Entry[]
  voids: { from: number; to: number }[]
}

export interface CatchUp {
  /** Entries after a seq, ascending. @throws AppError `unavailable` when a needed source is away */
  readAfter(user: string, conversation: string, after: number, limit: number): Promise<Page>
  /** Shows what the flow lacks; resolves when it is live or the session has closed. @returns how many entries were shown */
  repair(session: Session, conversation: string): Promise<number>
  /** A hole was found: waits a moment for a late push, then repairs. */
  repairSoon(session: Session, conversation: string): void
}

export function createCatchUp(deps: {
  reader: LogReader
  logic: Pick<LogicClient, 'readHistory'>
  slots: Slots
  signal: AbortSignal
  log: Logger
}): CatchUp {
  const { reader, logic, slots, signal, log } = deps

  async function readAfter(user: string, conversation: string, after: number, limit: number): Promise<Page> {
    const entries = await reader.after(conversation, after, limit)
    if (entries[0]?.seq === after + 1) return { entries: contiguous(entries), voids: [] }
    const page = await logic.readHistory({ user, conversation, after, fromStart: true, limit })
    return { entries: page.entries.map((entry) => ({ ...entry, trace: '' })), voids: page.voids }
  }

  async function repair(session: Session, conversation: string): Promise<number> {
    const flow = session.flow(conversation)
    if (!flow.startReading()) return 0
    return await readUntilLive(session, conversation, flow)
  }

  async function readUntilLive(session: Session, conversation: string, flow: Flow): Promise<number> {
    let shown = 0
    let stuckSince: number | undefined
    if (session.wantsGaps && flow.known - flow.position > LONGEST_WITHOUT_GAP) {
      tellGap(session, conversation, flow, flow.known - NEWEST_OF_GAP)
    }
    for (let failures = 0; !session.closed && !signal.aborted; ) {
      await session.writable()
      const before = flow.position
      let page: Page | undefined
      try {
        // The slot is for the read alone: a slow reader must not hold up the others.
        page = await slots.run(() => readAfter(session.user, conversation, flow.position, PAGE))
        failures = 0
      } catch (error) {
        // The line is full: that says nothing about what is there, so it is no reason for a gap.
        if (error instanceof AppError && error.code === 'overloaded') {
          await pause(backoffMs(failures++, { firstMs: 50, maxMs: 500 }), signal)
          continue
        }
        if (!(error instanceof AppError) || error.code !== 'unavailable') {
          log.error({ err: error, conversation, session: session.id }, 'catching up failed')
        }
      }
      if (session.closed) return shown
      if (page) shown += await showPage(session, conversation, flow, page)
      if (flow.finishReading(session.show)) return shown
      if (flow.position > before) {
        stuckSince = undefined
        continue
      }
      stuckSince ??= performance.now()
      // While nobody answers, waiting is right: a gap is told when somebody answers and does not have it, or MySQL alone is away.
      if (performance.now() - stuckSince >= GAP_AFTER_MS && (await logAnswers(conversation))) {
        tellGap(session, conversation, flow, beforeNextAtHand(flow, page))
        if (flow.finishReading(session.show)) return shown
        stuckSince = undefined
        continue
      }
      await pause(backoffMs(failures++, { firstMs: 50, maxMs: 500 }), signal)
    }
    return shown
  }

  async function logAnswers(conversation: string): Promise<boolean> {
    try {
      await reader.heads([conversation])
      return true
    } catch (error) {
      if (error instanceof AppError) return false
      throw error
    }
  }

  return {
    readAfter,
    repair,
    repairSoon(session, conversation) {
      setTimeout(() => {
        const flow = session.flow(conversation)
        if (session.closed || flow.state !== 'waiting') return
        repair(session, conversation).catch((error: unknown) =>
          log.error({ err: error, conversation }, 'repairing a hole'),
        )
      }, HOLE_WAIT_MS)
    },
  }
}

/** Shows a page in order; where seqs are declared void it says so. @returns how many entries were shown */
async function showPage(session: Session, conversation: string, flow: Flow, { entries, voids }: Page): Promise<number> {
  let shown = 0
  let next = 0
  const skipVoids = (): void => {
    for (let gone = voids[next]; gone && gone.from <= flow.position + 1; gone = voids[++next]) {
      if (gone.to <= flow.position) continue
      session.tell({ op: 'void', conversation, from: flow.position + 1, to: gone.to })
      flow.skipTo(gone.to)
    }
  }
  for (const entry of entries) {
    if (session.congested) await session.writable()
    if (session.closed) return shown
    skipVoids()
    const result = flow.read(entry.seq, () => messageFrame(entry), session.show)
    if (result === 'hole') return shown
    if (result === 'shown') shown++
  }
  skipVoids()
  return shown
}

/** Entries up to the first jump: what lies behind it must be asked for elsewhere. */
function contiguous(entries: Entry[]): Entry[] {
  const jump = entries.findIndex((entry, i) => i > 0 && entry.seq !== entries[i - 1]!.seq + 1)
  return jump === -1 ? entries : entries.slice(0, jump)
}

function beforeNextAtHand(flow: Flow, page: Page | undefined): number {
  const inPage = page?.entries.find((entry) => entry.seq > flow.position)?.seq
  const next = Math.min(inPage ?? Number.POSITIVE_INFINITY, flow.nextHeld() ?? Number.POSITIVE_INFINITY)
  return Number.isFinite(next) ? next - 1 : flow.known
}

function tellGap(session: Session, conversation: string, flow: Flow, to: number): void {
  const from = flow.position + 1
  session.tell({ op: 'gap', conversation, from, to })
  session.limitAcks(conversation, from - 1, to)
  flow.skipTo(to)
}
