/**
 * What later entries make of an entry, in its own row: written by persist in the transaction that stores the change. What was taken back
 * is gone from the rows: that of a recalled entry, and those of its edits, have no content any more; that of an edited one has the newest.
 */
import {
  applyChange,
  bareChange,
  type Change,
  changeOf,
  type Entry,
  type Fold,
  foldFacts,
  isChange,
  isChangeable,
  parseFold,
  showsFile,
} from '@tidings/protocol'
import { groupBy } from '@tidings/service'
import type { Db, Store } from './db.js'
import { doubtUsesIn, removeUsesIn } from './file-uses.js'
import { reindex, type TextRow } from './search-index.js'

/** In the row of an edit that counts no more. */
const TAKEN_BACK = ''
/** Changes of a conversation that are looked up at once. */
const MAX_RECENT = 1_000

interface TargetRow extends TextRow {
  fold: string | null
}

// Index: entries_pk.
const TARGETS = `SELECT conversation, seq, id, type, content, from_user, sent_at, fold FROM entries
  WHERE conversation = ? AND seq IN (?)`

interface Changed {
  row: TargetRow
  fold: Fold | undefined
  /** Edits whose content counts no more. */
  superseded: number[]
}

/** Does what these entries say to the rows of their targets. @param changes entries that were not stored before, upwards by seq */
export async function applyChanges(db: Db, changes: readonly Entry[]): Promise<void> {
  const valid = changes.flatMap((entry) => {
    const change = changeOf(entry)
    // Else written by hand: it is stored, and changes nothing.
    return change && change.seq < entry.seq ? [{ entry, change }] : []
  })
  for (const [conversation, all] of groupBy(valid, ({ entry }) => entry.conversation))
    await changeIn(db, conversation, all)
}

async function changeIn(db: Db, conversation: string, all: readonly { entry: Entry; change: Change }[]): Promise<void> {
  const rows = await db.select<TargetRow>(TARGETS, [conversation, [...new Set(all.map(({ change }) => change.seq))]])
  const targets = new Map(
    rows.map((row): [number, Changed] => [Number(row.seq), { row, fold: foldOf(row), superseded: [] }]),
  )
  for (const { entry, change } of all) {
    const target = targets.get(change.seq)
    if (!target || !isTarget(target.row, change)) continue
    const before = target.fold
    target.fold = applyChange(before, entry, change)
    const counts = target.fold.edited?.seq
    if (before?.edited && before.edited.seq !== counts) target.superseded.push(before.edited.seq)
    if (change.type === 'edit' && counts !== entry.seq) target.superseded.push(entry.seq)
  }
  for (const [seq, { row, fold, superseded }] of targets) {
    if (!fold) continue
    const content = fold.gone ? '' : (fold.content ?? row.content)
    await db.run('UPDATE entries SET content = ?, fold = ? WHERE conversation = ? AND seq = ?', [
      content,
      foldFacts(fold),
      conversation,
      seq,
    ])
    if (row.id !== null && content !== row.content) await reindex(db, { ...row, content })
    if (row.id !== null && showsFile(row.type)) {
      // What it showed goes when nothing else shows it.
      if (fold.gone) await removeUsesIn(db, [row.id], new Date())
      else if (content !== row.content) await doubtUsesIn(db, row.id, new Date())
    }
    if (superseded.length === 0) continue
    await db.run("UPDATE entries SET content = ?, fold = ? WHERE conversation = ? AND seq IN (?) AND type = 'edit'", [
      bareChange({ id: row.id ?? '0', seq }),
      TAKEN_BACK,
      conversation,
      superseded,
    ])
  }
}

/** A tombstone may yet become its target: the entry that stands there as a dead letter. */
function isTarget({ id, type }: TargetRow, change: Change): boolean {
  if (id === null) return type === 'void'
  // Who collapses what, append.lua has found by the seq.
  return change.type === 'collapse' ? !isChange(type) : id === change.id && isChangeable(type)
}

function foldOf({ fold, content }: TargetRow): Fold | undefined {
  if (fold === null) return undefined
  const parsed = parseFold(fold)
  return parsed.edited ? { ...parsed, content } : parsed
}

/** The fold of an entry, with the content where it was edited; undefined when nothing was changed. Index: entries_pk. @throws AppError `unavailable` */
export async function findFold(store: Store, conversation: string, seq: number): Promise<Fold | undefined> {
  const [row] = await store.use((db) => db.select<TargetRow>(TARGETS, [conversation, [seq]]))
  return row && foldOf(row)
}

/**
 * What changes above a seq have made of their targets. Index: entries_pk.
 * @throws AppError `unavailable`
 */
export async function foldsChangedAbove(
  store: Store,
  conversation: string,
  above: number,
): Promise<{ seq: number; fold: Fold }[]> {
  return store.use(async (db) => {
    const changes = await db.select<{ type: string; content: string; options: string | null }>(
      `SELECT type, content, options FROM entries WHERE conversation = ? AND seq > ?
        AND (type IN ('edit', 'recall', 'reaction') OR options IS NOT NULL) ORDER BY seq DESC LIMIT ?`,
      [conversation, above, MAX_RECENT],
    )
    const seqs = [
      ...new Set(
        changes.flatMap(({ options, ...change }) => changeOf({ ...change, options: options ?? '' })?.seq ?? []),
      ),
    ]
    if (seqs.length === 0) return []
    const rows = await db.select<TargetRow>(TARGETS, [conversation, seqs])
    return rows.flatMap((row) => {
      const fold = foldOf(row)
      return fold ? [{ seq: Number(row.seq), fold }] : []
    })
  })
}
