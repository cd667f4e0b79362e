/**
 * Folds in Redis: what later entries have made of the entries of a conversation's log, in a hash beside it (`keys.fold`), by the seq of
 * the entry; what a value says stands in protocol's fold.ts. append.lua writes it in the step that appends the change. MySQL has the
 * same in its rows; it is put back here before a change of an entry that Redis does not know of, and when a conversation leaps.
 */
import { type Entry, type Fold, folded, foldText, isChange, parseFold, targetOf } from '@tidings/protocol'
import { groupBy } from '@tidings/service'
import type { Keys } from './keys.js'
import { type Redis, redisAway, together } from './redis.js'
import { loadScript, scriptFile } from './script.js'

const mergeScript = loadScript(scriptFile('fold-merge.lua', import.meta.url))
const trimScript = loadScript(scriptFile('fold-trim.lua', import.meta.url))

/** What an append needs to know of the change that its entry makes. Who may change what is decided before. */
export interface ChangeRule {
  what: 'edit' | 'recall' | 'add' | 'remove'
  target: { id: string; seq: number; sentAt: number }
  /** The newest change of the target that MySQL knows, 0 for none: Redis must know as much. */
  base: number
  /** Milliseconds since 1970 until which it may be made, 0: without end. */
  until: number
  /** For a reaction: with what. For an edit: how many bytes stand before the new content in that of the entry. */
  detail: string | number
}

/** The argument of append.lua, which says what it means. @param key the place of the fold's key among KEYS */
export const changeWords = ({ what, target, base, until, detail }: ChangeRule, key: number): string =>
  `${what} ${key} ${target.seq} ${base} ${until} ${target.id} ${target.sentAt} ${detail}`

/** The seq whose fold tells how an entry is shown: its own, or, for an edit, that of its target. */
function foldSeq(entry: Entry): number | undefined {
  if (!isChange(entry.type)) return entry.seq
  return entry.type === 'edit' ? targetOf(entry)?.seq : undefined
}

/** How many of these conversations have folds. One round trip together with what else is asked for in the same turn. */
export function foldsAmong(redis: Redis, keys: Keys, conversations: readonly string[]): Promise<Set<string>> {
  const byPartition = groupBy(new Set(conversations), (conversation) => keys.partitionOf(conversation))
  return Promise.all(
    [...byPartition].map(async ([partition, all]): Promise<string[]> => {
      const count = await redis.exists(...all.map((one) => keys.fold(one, partition)))
      return count === 0 ? [] : all
    }),
  ).then((found) => new Set(found.flat()))
}

/** Entries of one conversation as readers see them. */
export async function foldAll(redis: Redis, keys: Keys, entries: readonly Entry[]): Promise<Entry[]> {
  const [first] = entries
  if (!first) return []
  const seqs = [...new Set(entries.flatMap((entry) => foldSeq(entry) ?? []))]
  if (seqs.length === 0) return [...entries]
  const texts = await redis.hmget(keys.fold(first.conversation), ...seqs.map(String))
  const folds = new Map<number, Fold>()
  for (const [i, text] of texts.entries()) if (text) folds.set(seqs[i]!, parseFold(text))
  if (folds.size === 0) return [...entries]
  return entries.map((entry) => {
    const seq = foldSeq(entry)
    const fold = seq === undefined ? undefined : folds.get(seq)
    return fold ? folded(entry, fold) : entry
  })
}

/**
 * Entries of one conversation that were read from MySQL, with the changes that persist has not stored yet: one round trip. Whoever shows
 * rows of `entries` to people asks this.
 * @throws AppError `unavailable`
 */
export async function foldStored(redis: Redis, keys: Keys, entries: readonly Entry[]): Promise<Entry[]> {
  try {
    return await foldAll(redis, keys, entries)
  } catch (error) {
    throw redisAway(error)
  }
}

/** Puts folds back that MySQL knows of. What Redis knows stays where it is newer. */
export async function mergeFolds(
  redis: Redis,
  keys: Keys,
  conversation: string,
  folds: readonly { seq: number; fold: Fold }[],
): Promise<void> {
  await together(redis, () =>
    Promise.all(
      folds.map(({ seq, fold }) =>
        mergeScript.run(redis, [keys.fold(conversation)], [seq, fold.last.seq, foldText(fold)]),
      ),
    ),
  )
}

/** Forgets folds that no reader of the log needs any more. @param stored the newest seq in MySQL */
export async function trimFolds(redis: Redis, keys: Keys, conversation: string, stored: number): Promise<void> {
  await trimScript.run(redis, [keys.fold(conversation), keys.log(conversation)], [stored])
}
