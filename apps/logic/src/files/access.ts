/**
 * Who may read a file: whoever uploaded it, and whoever may read a message that shows it. A row in `file_uses` says only where to look:
 * what counts is the message itself, in the log or in MySQL, as this reader may see it now.
 */
import { AppError, type Entry, fileClaims, isParty, isRoom, parseConversation, showsFile } from '@tidings/protocol'
import { type FileRow, type FileUse, findFile, type Store, usesFor } from '@tidings/store'
import type { LogReader } from '@tidings/stream'
import { type MembershipDeps, membershipsOf } from '../rooms/membership.js'
import { findShown } from '../shown.js'
import { fileNotFound } from './input.js'

/** Uses looked at together, and how often: a file stands in at most 10,000 messages. */
const PAGE = 200
const PAGES = 50
/** Entries that may have come between the head at which a use was written down and its message. */
const BETWEEN = 1_000

export type AccessDeps = MembershipDeps & { store: Store; reader: LogReader }

/** @throws AppError `file_not_found`, `unavailable` */
export async function requireFile(deps: AccessDeps, user: string, id: string): Promise<FileRow> {
  const file = await findFile(deps.store, id)
  if (!file || !(file.owner === user || (await isShown(deps, user, id)))) throw fileNotFound()
  return file
}

async function isShown(deps: AccessDeps, user: string, file: string): Promise<boolean> {
  let after = '0'
  for (let page = 0; page < PAGES; page++) {
    const uses = await usesFor(deps.store, file, user, after, PAGE)
    if (await isShownIn(deps, user, file, uses)) return true
    if (uses.length < PAGE) return false
    after = uses.at(-1)!.message
  }
  return false
}

async function isShownIn(deps: AccessDeps, user: string, file: string, uses: readonly FileUse[]): Promise<boolean> {
  const floors = await floorsOf(deps, user, uses)
  const readable = uses.filter(({ conversation }) => floors.has(conversation))
  const stored = await findShown(
    deps,
    readable.map(({ message }) => message),
  )
  const shows = (entry: Entry): boolean => entry.seq > floors.get(entry.conversation)! && showsThis(entry, file)
  if (stored.some((entry) => floors.has(entry.conversation) && shows(entry))) return true
  const known = new Set(stored.map(({ id }) => id))
  for (const use of readable) {
    if (known.has(use.message)) continue
    const entry = await findInLog(deps.reader, use)
    if (entry && shows(entry)) return true
  }
  return false
}

/** The seqs above which the user may read, of those conversations that the user is in. */
async function floorsOf(deps: AccessDeps, user: string, uses: readonly FileUse[]): Promise<Map<string, number>> {
  const conversations = [...new Set(uses.map(({ conversation }) => conversation))]
  const floors = new Map<string, number>()
  for (const id of conversations) {
    const conversation = parseConversation(id)
    if (conversation && isParty(conversation, user)) floors.set(id, 0)
  }
  const rooms = await membershipsOf(deps, user, conversations.filter(isRoom))
  for (const [room, { floor }] of rooms) floors.set(room, floor)
  return floors
}

/** A message that MySQL does not have yet: the log keeps all of those. @throws AppError `unavailable` */
export async function findInLog(
  reader: LogReader,
  { conversation, message, above }: FileUse,
): Promise<Entry | undefined> {
  return (await reader.after(conversation, above, BETWEEN)).find(({ id }) => id === message)
}

/** What it says now: a message whose content was taken back shows nothing. */
export function showsThis({ type, content }: Entry, file: string): boolean {
  if (!showsFile(type)) return false
  try {
    return fileClaims(type, content).some(({ id }) => id === file)
  } catch (error) {
    if (error instanceof AppError) return false
    throw error
  }
}
