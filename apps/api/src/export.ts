/**
 * All that is known of a user, as lines of JSON, made page by page as they are read. Every page is asked for as the user would ask for it:
 * what others said where one may not read any more is not in it; what one said there oneself is.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { AppError, type logicRpc } from '@tidings/protocol'
import { backoffMs } from '@tidings/service'
import type { LogicCalls } from './api.js'
import type { RunningExport } from './exports.js'
import { conversationJson, entryJson } from './history-json.js'
import { roomJson } from './room-json.js'

const CONVERSATIONS = 100
const BLOCKS = 200
const MESSAGES = 200
/** A source that is away is waited for a little. */
const ATTEMPTS = 6
const WAIT = { firstMs: 200, maxMs: 3_000 }

export interface ExportOptions {
  user: string
  /** Also what others have said in the conversations of the user. */
  all: boolean
}

const line = (kind: string, facts: object): string => `${JSON.stringify({ kind, ...facts })}\n`

/** Text that is JSON already, on one line: between its words a line break says nothing. */
const rawLine = (kind: string, name: string, json: string): string =>
  `{"kind":"${kind}","${name}":${json.replace(/[\r\n]/g, ' ')}}\n`

/**
 * @param running kept while it goes on, dropped at the end, also when nobody reads on
 * @param requireSession asked before every page: an export may take long. Throws when the session or the user has ended
 * @throws AppError what logic throws, in the midst of it: then the last line is missing
 */
export async function* exportLines(
  logic: LogicCalls,
  { user, all }: ExportOptions,
  running: RunningExport,
  requireSession: () => undefined | Promise<void>,
): AsyncGenerator<string> {
  let lines = 0
  const counted = (text: string, count = 1): string => {
    lines += count
    return text
  }
  try {
    const { user: profile } = await patient(() => logic.getUser({ user }))
    yield counted(line('user', { user: profile }))
    const { devices, sessions, files } = await patient(() => logic.readAccount({ user }))
    for (const device of devices) yield counted(line('device', device))
    for (const { revokedAt, ...session } of sessions)
      yield counted(line('session', { ...session, revokedAt: revokedAt === 0 ? null : revokedAt }))
    for (const file of files) yield counted(line('file', file))
    for await (const blocked of blocks(logic, user)) yield counted(line('block', { user: blocked }))
    for await (const view of conversations(logic, user)) {
      await patient(async () => requireSession())
      yield counted(rawLine('conversation', 'conversation', conversationJson(view)))
      const room = view.kind === 'room' ? await roomOf(logic, user, view.id) : undefined
      if (room) yield counted(line('room', { room: roomJson({ room }) }))
      for await (const page of messages(logic, user, view)) {
        await running.keep()
        await patient(async () => requireSession())
        const said = all ? page : page.filter(({ from }) => from === user)
        if (said.length === 0) continue
        yield counted(said.map((entry) => rawLine('message', 'message', entryJson(entry))).join(''), said.length)
      }
    }
    for await (const { room, entries } of leftRooms(logic, user)) {
      await running.keep()
      await patient(async () => requireSession())
      if (room) yield counted(line('left', { left: room }))
      const said = entries.map((entry) => rawLine('message', 'message', entryJson(entry)))
      if (said.length > 0) yield counted(said.join(''), said.length)
    }
    yield line('end', { lines })
  } finally {
    await running.drop()
  }
}

/** As often as makes sense while a source is away or has too much to do. */
async function patient<T>(call: () => Promise<T>): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await call()
    } catch (error) {
      const passing = error instanceof AppError && (error.code === 'unavailable' || error.code === 'overloaded')
      if (!passing || attempt + 1 >= ATTEMPTS) throw error
      await delay(backoffMs(attempt, WAIT))
    }
  }
}

async function* blocks(logic: LogicCalls, user: string): AsyncGenerator<string> {
  for (let cursor = ''; ; ) {
    const page = await patient(() => logic.listBlocks({ user, cursor, limit: BLOCKS }))
    yield* page.users
    cursor = page.nextCursor
    if (cursor === '') return
  }
}

async function* conversations(logic: LogicCalls, user: string): AsyncGenerator<logicRpc.ConversationView> {
  for (let cursor = ''; ; ) {
    const page = await patient(() => logic.listConversations({ user, cursor, limit: CONVERSATIONS, byName: true }))
    yield* page.conversations
    cursor = page.nextCursor
    if (cursor === '') return
  }
}

async function* leftRooms(logic: LogicCalls, user: string): AsyncGenerator<logicRpc.ReadLeftRoomsResponse> {
  for (let cursor = ''; ; ) {
    const page = await patient(() => logic.readLeftRooms({ user, cursor }))
    yield page
    cursor = page.nextCursor
    if (cursor === '') return
  }
}

async function roomOf(logic: LogicCalls, user: string, id: string): Promise<logicRpc.Room | undefined> {
  try {
    return (await patient(() => logic.getRoom({ user, room: id.slice('room:'.length) }))).room
  } catch (error) {
    if (isGone(error)) return undefined
    throw error
  }
}

/** Pages up to the head of now. Whoever is shut out meanwhile is given no more. */
async function* messages(
  logic: LogicCalls,
  user: string,
  { id: conversation, head }: logicRpc.ConversationView,
): AsyncGenerator<logicRpc.HistoryEntry[]> {
  for (let after = 0; after < head; ) {
    let page: logicRpc.ReadHistoryResponse
    const asked = { user, conversation, before: 0, after, fromStart: true, limit: MESSAGES }
    try {
      page = await patient(() => wholePage(logic, asked))
    } catch (error) {
      if (isGone(error)) return
      throw error
    }
    yield page.entries
    const reached = Math.max(page.entries.at(-1)?.seq ?? 0, ...page.voids.map(({ to }) => to))
    if (reached <= after) return
    after = reached
  }
}

/** What is just on its way into MySQL, and gone from the log already, comes in a moment. @throws AppError `unavailable` */
async function wholePage(
  logic: LogicCalls,
  asked: Parameters<LogicCalls['readHistory']>[0],
): Promise<logicRpc.ReadHistoryResponse> {
  const page = await logic.readHistory(asked)
  if (!page.complete) throw new AppError('unavailable', 'Some messages cannot be read just now.', { retryAfter: 1 })
  return page
}

const isGone = (error: unknown): boolean =>
  error instanceof AppError && (error.code === 'conversation_not_found' || error.code === 'room_not_found')
