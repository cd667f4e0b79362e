/** Messages by their ids, as people see them by now. */
import type { Entry } from '@tidings/protocol'
import { groupBy } from '@tidings/service'
import { findEntries, type Store } from '@tidings/store'
import type { LogReader } from '@tidings/stream'

/** Those that MySQL has, with what was changed of them that it does not know yet. @throws AppError `unavailable` */
export async function findShown(
  { store, reader }: { store: Store; reader: LogReader },
  ids: readonly string[],
): Promise<Entry[]> {
  const byConversation = groupBy(await findEntries(store, ids), ({ conversation }) => conversation)
  return (await Promise.all([...byConversation.values()].map((entries) => reader.foldStored(entries)))).flat()
}
