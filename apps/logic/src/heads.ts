/** Heads of conversations, wherever they are known. */
import { maxSeqs, type Store } from '@tidings/store'
import type { LogReader } from '@tidings/stream'

/** Conversations in one round trip. */
const CHUNK = 500

/**
 * The head of each conversation: Redis', or that of the rows where Redis knows none; 0 where there is nothing.
 * @throws AppError `unavailable`: never 0 for one that could not be looked up
 */
export async function readHeads(
  deps: { reader: LogReader; store: Store },
  conversations: readonly string[],
): Promise<Map<string, number>> {
  const heads = new Map<string, number>()
  const unknown: string[] = []
  for (let at = 0; at < conversations.length; at += CHUNK) {
    const chunk = conversations.slice(at, at + CHUNK)
    const found = await deps.reader.heads(chunk)
    for (const [i, conversation] of chunk.entries()) {
      heads.set(conversation, found[i]!)
      if (found[i] === 0) unknown.push(conversation)
    }
  }
  for (let at = 0; at < unknown.length; at += CHUNK) {
    for (const [conversation, seq] of await maxSeqs(deps.store, unknown.slice(at, at + CHUNK)))
      heads.set(conversation, seq)
  }
  return heads
}
