/** Heads of conversations, wherever they are known. */
import { EVERYONE } from '@tidings/protocol'
import { maxSeqs, type Store } from '@tidings/store'
import type { LogReader } from '@tidings/stream'

/** Conversations in one round trip. */
const CHUNK = 500

/**
 * The head of each conversation: Redis', or that of the rows where Redis knows none; 0 where there is nothing.
 * @throws AppError `unavailable`: never 0 for one that could not be looked up
 */
export const readHeads = (deps: HeadDeps, conversations: readonly string[]): Promise<Map<string, number>> =>
  read(deps, conversations, () => true)

/**
 * As `readHeads`, of what users are in; everybody is in `feed:*`, which may well be empty: MySQL is not asked for it with every opening.
 * What Redis has forgotten of it is back with the leap of its generation, which every session is told of.
 */
export const readStandingHeads = (deps: HeadDeps, conversations: readonly string[]): Promise<Map<string, number>> =>
  read(deps, conversations, (conversation) => conversation !== EVERYONE)

interface HeadDeps {
  reader: LogReader
  store: Store
}

async function read(
  deps: HeadDeps,
  conversations: readonly string[],
  mayBeStored: (conversation: string) => boolean,
): Promise<Map<string, number>> {
  const heads = new Map<string, number>()
  const unknown: string[] = []
  for (let at = 0; at < conversations.length; at += CHUNK) {
    const chunk = conversations.slice(at, at + CHUNK)
    const found = await deps.reader.heads(chunk)
    for (const [i, conversation] of chunk.entries()) {
      heads.set(conversation, found[i]!)
      if (found[i] === 0 && mayBeStored(conversation)) unknown.push(conversation)
    }
  }
  for (let at = 0; at < unknown.length; at += CHUNK) {
    for (const [conversation, seq] of await maxSeqs(deps.store, unknown.slice(at, at + CHUNK)))
      heads.set(conversation, seq)
  }
  return heads
}
