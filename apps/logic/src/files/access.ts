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
import { readLogged } from './logged.js'

/** Uses looked at together, and how often: a file stands in at most 10,000 messages. */
const PAGE = 200
const PAGES = 50
/** Pages of logs that one request reads, for messages that MySQL does not have yet. */
const LOG_READS = 20

export type AccessDeps = MembershipDeps & { store: Store; reader: LogReader }

/** @throws AppError `file_not_found`, `unavailable` */
export async function requireFile(deps: AccessDeps, user: string, id: string): Promise<FileRow> {
  const file = await findFile(deps.store, id)
  if (!file || !(file.owner === user || (await isShown(deps, user, id)))) throw fileNotFound()
  return file
}

async function isShown(deps: AccessDeps, user: string, file: string): Promise<boolean> {
  const floors = new Map<string, number>()
  const shows = (entry: Entry): boolean =>
    entry.seq > (floors.get(entry.conversation) ?? Number.POSITIVE_INFINITY) && showsThis(entry, file)
  const open: FileUse[] = []
  let after = '0'
  for (let page = 0; page < PAGES; page++) {
    const uses = await usesFor(deps.store, file, user, after, PAGE)
    for (const [conversation, floor] of await floorsOf(deps, user, uses)) floors.set(conversation, floor)
    const readable = uses.filter(({ conversation }) => floors.has(conversation))
    const stored = await findShown(
      deps,
      readable.map(({ message }) => message),
    )
    if (stored.some(shows)) return true
    const known = new Set(stored.map(({ id }) => id))
    // Of what was seen stored once, and is not there any more, the log has nothing.
    open.push(...readable.filter(({ message, unproven }) => unproven && !known.has(message)))
    if (uses.length < PAGE) break
    after = uses.at(-1)!.message
  }
  return isShownInLog(deps, open, shows)
}

/** @throws AppError `unavailable` when there is more to look at than one request is worth */
async function isShownInLog(
  { reader }: AccessDeps,
  uses: readonly FileUse[],
  shows: (entry: Entry) => boolean,
): Promise<boolean> {
  let reads = 0
  for await (const found of readLogged(reader, uses)) {
    if (found.some(shows)) return true
    if (++reads > LOG_READS)
      throw new AppError('unavailable', 'Whether you may read the file cannot be told now. Try again shortly.', {
        retryAfter: 5,
      })
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
