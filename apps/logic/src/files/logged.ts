/**
 * Messages that MySQL does not have yet, found in the logs of their conversations. A use of a file costs its writer nothing and may be of a
 * message that never came: the logs are read in pages, each part of them once, and whoever looks decides after each page whether to go on.
 */
import type { Entry } from '@tidings/protocol'
import type { FileUse } from '@tidings/store'
import type { LogReader } from '@tidings/stream'

const PAGE = 100
/** Entries that may have come between the head at which a use was written down and its message. */
const BETWEEN = 1_000

/**
 * @returns after each read those of the messages that it has found, as they are shown by now
 * @throws AppError `unavailable`
 */
export async function* readLogged(
  reader: Pick<LogReader, 'after'>,
  uses: readonly FileUse[],
): AsyncGenerator<Entry[], void> {
  const open = new Set(uses.map(({ message }) => message))
  let [reading, at] = ['', 0]
  for (const { conversation, message, above } of [...uses].sort(inOrder)) {
    at = conversation === reading ? Math.max(at, above) : above
    reading = conversation
    while (open.has(message) && at < above + BETWEEN) {
      const entries = await reader.after(conversation, at, PAGE)
      at = entries.length < PAGE ? Number.POSITIVE_INFINITY : entries.at(-1)!.seq
      yield entries.filter(({ id }) => open.delete(id))
    }
  }
}

function inOrder(one: FileUse, other: FileUse): number {
  if (one.conversation !== other.conversation) return one.conversation < other.conversation ? -1 : 1
  return one.above - other.above
}
