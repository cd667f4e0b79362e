/**
 * Catching up: entries after a session's position, read from the conversation's log, then from MySQL through logic, shown at the
 * reader's pace. The same few lines serve the backlog of a new session, a hole that a push left, and a re-check that found more than
 * was pushed. What to do next is decided in repair.ts.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { LogicClient } from '@tidings/accept'
import { AppError, Close, type Entry, EVERYONE, endsFor, isRoom, roomEventOf } from '@tidings/protocol'
import type { Logger } from '@tidings/service'
import type { LogReader } from '@tidings/stream'
import { type NextStep, type Page, Repair } from './repair.js'
import type { Flow } from './sequencer.js'
import type { Session } from './session.js'
import type { Slots } from './slots.js'

const PAGE = 100
/** How long a late push may still fill a hole by itself. */
const HOLE_WAIT_MS = 50

export interface CatchUp {
  /**
   * Entries after a seq, ascending, on the user's own wish.
   * @throws AppError `unavailable` when a needed source is away, `conversation_not_found` when the user is not in it
   */
  readAfter(user: string, conversation: string, after: number, limit: number): Promise<Page>
  /** Shows what a flow that is reading lacks; resolves when it is live or the session has closed. @returns how many were shown */
  repair(session: Session, conversation: string): Promise<number>
  /** A hole was found: waits a moment for a late push, then repairs. */
  repairSoon(session: Session, conversation: string): void
}

export function createCatchUp(deps: {
  reader: LogReader
  logic: Pick<LogicClient, 'readHistory' | 'permit'>
  slots: Slots
  /** The user of the session is not in this room any more. */
  leaveRoom(session: Session, room: string): void
  signal: AbortSignal
  log: Logger
}): CatchUp {
  const { reader, logic, slots, leaveRoom, signal, log } = deps

  async function readAfter(user: string, conversation: string, after: number, limit: number): Promise<Page> {
    // Logic knows from where on the user may read.
    return isRoom(conversation) || conversation === EVERYONE
      ? readStored(user, conversation, after, limit)
      : readNewest(user, conversation, after, limit)
  }

  /** For one who may read here: nobody asks whether. */
  async function readNewest(user: string, conversation: string, after: number, limit: number): Promise<Page> {
    // A void in a log is for logic to judge: whoever stands right before it would be shown it as a message.
    const entries = (await reader.after(conversation, after, limit)).filter(({ type }) => type !== 'void')
    if (entries[0]?.seq === after + 1) return { entries: contiguous(entries), voids: [] }
    return readStored(user, conversation, after, limit)
  }

  async function readStored(user: string, conversation: string, after: number, limit: number): Promise<Page> {
    const page = await logic.readHistory({ user, conversation, after, fromStart: true, limit })
    return { entries: page.entries.map((entry) => ({ ...entry, trace: '' })), voids: page.voids }
  }

  async function repair(session: Session, conversation: string): Promise<number> {
    const flow = session.flow(conversation)
    const repairing = new Repair(flow, readerOf(session, conversation))
    // Whoever left a room meanwhile, and perhaps came back to it, has another flow there or none.
    const goesOn = (): boolean =>
      !session.closed && !signal.aborted && session.holds(conversation) && session.flow(conversation) === flow
    for (let step: NextStep = 'read'; step !== 'live' && goesOn(); ) {
      if (step === 'ask') {
        const may = await mayTellGap(session, conversation)
        step = goesOn() ? repairing.resists(may) : 'live'
      } else if (step === 'read') step = await readOn(session, conversation, flow, repairing, goesOn)
      else {
        // Without the signal: thousands may wait, and each would be a listener on it. The loop looks at it afterwards.
        await delay(step.waitMs, undefined, { ref: false })
        step = 'read'
      }
    }
    if (flow.over && goesOn()) leaveRoom(session, conversation)
    return repairing.shown
  }

  /** @param goesOn asked behind each wait: what was read for a flow that is over is shown to nobody */
  async function readOn(
    session: Session,
    conversation: string,
    flow: Flow,
    repairing: Repair,
    goesOn: () => boolean,
  ): Promise<NextStep> {
    await session.writable()
    if (!goesOn()) return 'live'
    const page = await readPage(session, conversation, flow.position, goesOn)
    if (!goesOn()) return 'live'
    if (page === 'busy') return repairing.later()
    if (page && isRoom(conversation)) endAtRemoval(session, conversation, flow, page)
    repairing.take(page)
    while (goesOn() && repairing.showNext()) if (session.congested) await session.writable()
    return repairing.next(performance.now())
  }

  /** @returns undefined when a source is away, `busy` when the line is full, which says nothing about what is there */
  async function readPage(
    session: Session,
    conversation: string,
    after: number,
    goesOn: () => boolean,
  ): Promise<Page | 'busy' | undefined> {
    try {
      // The slot is for the read alone: a slow reader must not hold up the others.
      return await slots.run(() => readNewest(session.user, conversation, after, PAGE))
    } catch (error) {
      if (error instanceof AppError && error.code === 'overloaded') return 'busy'
      if (error instanceof AppError && error.code === 'conversation_not_found' && isRoom(conversation)) {
        if (goesOn()) leaveRoom(session, conversation)
        return undefined
      }
      if (!(error instanceof AppError) || error.code !== 'unavailable') {
        log.error({ err: error, conversation, session: session.id }, 'catching up failed')
      }
      return undefined
    }
  }

  /** A gap passes what would have shut the user out of a room: so it is asked whether the user is in it still. */
  async function mayTellGap(session: Session, conversation: string): Promise<boolean> {
    try {
      await reader.heads([conversation])
      if (isRoom(conversation)) await requireMember(session, conversation)
      return session.holds(conversation)
    } catch (error) {
      if (error instanceof AppError) return false
      throw error
    }
  }

  async function requireMember(session: Session, room: string): Promise<void> {
    try {
      await logic.permit({ user: session.user, conversation: room })
    } catch (error) {
      if (error instanceof AppError && error.code === 'muted') return
      if (error instanceof AppError && error.code === 'conversation_not_found') leaveRoom(session, room)
      throw error
    }
  }

  return {
    readAfter,
    repair,
    repairSoon(session, conversation) {
      setTimeout(() => {
        if (session.closed || !session.startReading(conversation)) return
        repair(session, conversation).catch((error: unknown) => {
          log.error({ err: error, conversation, session: session.id }, 'repairing a hole')
          // Nobody would read for this flow any more: the device comes back and catches up.
          session.close(Close.Internal, 'catching up failed')
        })
      }, HOLE_WAIT_MS)
    },
  }
}

/** Of what was read, the entry that shuts the user out is the last that is shown. One from before the joining is of another stay. */
function endAtRemoval(session: Session, room: string, flow: Flow, { entries }: Page): void {
  const joined = session.joinedAt(room) ?? 0
  for (const entry of entries) {
    const event = entry.seq > joined ? roomEventOf(entry) : undefined
    if (event && endsFor(event, session.user)) flow.endAt(entry.seq)
  }
}

const readerOf = (session: Session, conversation: string) => ({
  wantsGaps: session.wantsGaps,
  show: session.show,
  tellVoid: (from: number, to: number) => session.tell({ op: 'void', conversation, from, to }),
  tellGap(from: number, to: number) {
    session.tell({ op: 'gap', conversation, from, to })
    session.limitAcks(conversation, from - 1, to)
  },
})

/** Entries up to the first jump: what lies behind it must be asked for elsewhere. */
function contiguous(entries: Entry[]): Entry[] {
  const jump = entries.findIndex((entry, i) => i > 0 && entry.seq !== entries[i - 1]!.seq + 1)
  return jump === -1 ? entries : entries.slice(0, jump)
}
