/** Entries, written in batches by persist. Reading them is in entry-rows.ts; what later entries make of them in folds.ts. */
import {
  AppError,
  type Entry,
  mayChange,
  parseConversation,
  parseFold,
  rangesBetween,
  voidEntry,
  voidRange,
} from '@tidings/protocol'
import { groupBy } from '@tidings/service'
import { ER_DUPLICATE, errnoOf, mayPassNextTime } from './away.js'
import { type Db, type Store, transaction } from './db.js'
import { readRows } from './entry-rows.js'
import { holdFences } from './fences.js'
import { applyChanges } from './folds.js'
import { asIs, literal } from './literals.js'
import { addMembers } from './members.js'

/** Characters in one statement: as bytes, of which a character has at most three, well below max_allowed_packet (16 MiB by default). */
const MAX_STATEMENT_CHARACTERS = 2 * 1024 * 1024
/** Up to so many entries one statement that holds each to its fence costs less than the four of a transaction. */
const FEW = 16

export interface FencedEntry {
  partition: number
  /** The writer's fence of that partition. */
  fence: number
  entry: Entry
  /** Why there is nothing at these seqs, for an entry of type `void` that is no leap's. */
  reason?: string
}

export interface Conflict {
  entry: Entry
  /** `seq_conflict`, `id_conflict` or `rejected: …`: why this entry can never be stored. */
  reason: string
}

export interface Inserted {
  /** Partitions with a newer owner, each with that one's fence: nothing of them was stored. */
  fenced: ReadonlyMap<number, number>
  /** Entries that can never be stored. All others, of partitions that are not fenced, are stored now. */
  conflicts: Conflict[]
}

/** The server refuses the value itself: too long, not of the type, out of range, null, a failed check. */
const DATA_ERRORS: ReadonlySet<number> = new Set([
  1048, 1264, 1265, 1292, 1300, 1364, 1366, 1367, 1406, 1411, 1525, 1690, 3819, 3854, 4025, 22007, 22001,
])

const ENTRY_COLUMNS = 'conversation, seq, id, n, from_user, type, content, client_id, sent_at'
const COLUMNS = `${ENTRY_COLUMNS}, void_from, options, reason`
// Never IGNORE and never ON DUPLICATE KEY: both lose an entry silently when a seq was given out twice.
const INSERT = `INSERT INTO entries (${COLUMNS}) VALUES ?`
const INSERT_ENTRIES = `INSERT INTO entries (${ENTRY_COLUMNS}) VALUES ?`
const UNDER_FENCE =
  '(SELECT ? FROM partition_fences WHERE group_name = ? AND partition_no = ? AND fence <= ? LOCK IN SHARE MODE)'
const INSERT_WITH_OPTIONS = `INSERT INTO entries (${ENTRY_COLUMNS}, options) VALUES ?`

const toValues = (entry: Entry, reason?: string): unknown[] => [
  entry.conversation,
  entry.seq,
  entry.type === 'void' ? null : entry.id,
  entry.n,
  entry.from,
  entry.type,
  entry.content,
  entry.clientId,
  entry.sentAt,
  entry.type === 'void' ? voidRange(entry).from : null,
  entry.options || null,
  reason ?? null,
]

/** The values of ENTRY_COLUMNS, and of `options` where the entry has some. */
const valuesOf = (entry: Entry): string =>
  `${literal(entry.conversation)},${entry.seq},${literal(entry.id)},${entry.n},${literal(entry.from)},` +
  `${literal(entry.type)},${literal(entry.content)},${literal(entry.clientId)},${entry.sentAt}${entry.options ? `,${literal(entry.options)}` : ''}`

const byKey = ({ entry: a }: FencedEntry, { entry: b }: FencedEntry): number =>
  a.conversation < b.conversation ? -1 : a.conversation > b.conversation ? 1 : a.seq - b.seq

/**
 * Stores a batch in one transaction, except what belongs to a partition with a newer owner and what can never be stored. An entry
 * that is there already is no conflict: repeating a batch changes nothing. An entry takes the place of its tombstone.
 * @param members conversations whose parties must be listed as members, in the same transaction
 * @throws AppError `unavailable`: nothing was stored, or, when the connection was lost at the commit, perhaps all; repeat it
 */
export async function insertEntries(
  store: Store,
  batch: readonly FencedEntry[],
  group: string,
  members: readonly string[] = [],
): Promise<Inserted> {
  // By primary key: two batches that overlap then lock in the same order.
  const sorted = [...batch].sort(byKey)
  if (members.length === 0 && (await insertFew(store, sorted, group))) return { fenced: new Map(), conflicts: [] }
  try {
    return await transaction(store, (db) => insertAll(db, sorted, group, members))
  } catch (error) {
    if (errnoOf(error) !== ER_DUPLICATE && !isDataError(error)) throw error
  }
  return transaction(store, (db) => insertEach(db, sorted, group, members))
}

/**
 * Ordinary entries that come by ones and twos, as they do at rest: one statement does what otherwise takes four. It is a transaction of
 * its own, in which the fences are held where they are.
 * @returns false when the long way has to find out why not; those whose fence holds may be stored by then
 */
async function insertFew(store: Store, batch: readonly FencedEntry[], group: string): Promise<boolean> {
  if (batch.length === 0 || batch.length > FEW || !batch.every(({ entry }) => isOrdinary(entry))) return false
  const rows = batch.map(({ entry }) => valuesOf(entry))
  if (rows.reduce((sum, row) => sum + row.length, 0) > MAX_STATEMENT_CHARACTERS) return false
  const sql = `INSERT INTO entries (${ENTRY_COLUMNS}) ${rows.map(() => UNDER_FENCE).join(' UNION ALL ')}`
  const values = batch.flatMap(({ partition, fence }, i) => [asIs(rows[i]!), group, partition, fence])
  try {
    return (await store.use((db) => db.run(sql, values))) === batch.length
  } catch (error) {
    const cause = error instanceof AppError ? error.cause : error
    // Anything else the long way would meet as well, or must be known of.
    if (errnoOf(cause) === ER_DUPLICATE || isDataError(cause) || mayPassNextTime(cause)) return false
    throw error
  }
}

const isOrdinary = (entry: Entry): boolean => entry.type !== 'void' && !entry.options && !mayChange(entry)

const isDataError = (error: unknown): boolean => DATA_ERRORS.has(errnoOf(error) ?? 0)

async function hold(db: Db, batch: readonly FencedEntry[], group: string) {
  const wanted = new Map<number, number>()
  for (const { partition, fence } of batch) wanted.set(partition, Math.min(fence, wanted.get(partition) ?? fence))
  const fenced = wanted.size === 0 ? new Map<number, number>() : await holdFences(db, group, wanted)
  return { open: batch.filter(({ partition }) => !fenced.has(partition)), fenced }
}

/** Not for the conversations of fenced partitions: those are the newer owner's. */
async function addMembersOf(db: Db, open: readonly FencedEntry[], members: readonly string[]): Promise<void> {
  if (members.length === 0) return
  const ours = new Set(open.map(({ entry }) => entry.conversation))
  await addMembers(
    db,
    members.filter((conversation) => ours.has(conversation)),
  )
}

/** Gathers rows for one statement, or for several when they are long. */
function rowsFor(db: Db, statement: string) {
  let rows = ''
  /** What is added while the statement runs belongs to the next one. */
  async function flush(): Promise<void> {
    const full = rows
    rows = ''
    if (full !== '') await db.run(statement, [asIs(full)])
  }
  return {
    flush,
    add(row: string): undefined | Promise<void> {
      const full = rows !== '' && rows.length + row.length > MAX_STATEMENT_CHARACTERS
      const flushed = full ? flush() : undefined
      rows += rows === '' ? row : `,${row}`
      return flushed
    },
  }
}

async function insertAll(db: Db, batch: readonly FencedEntry[], group: string, members: readonly string[]) {
  const { open, fenced } = await hold(db, batch, group)
  const plain = rowsFor(db, INSERT_ENTRIES)
  const optioned = rowsFor(db, INSERT_WITH_OPTIONS)
  const changes: Entry[] = []
  for (const { entry, reason } of open) {
    if (mayChange(entry)) changes.push(entry)
    if (entry.type === 'void') await insertVoid(db, entry, reason)
    else await (entry.options ? optioned : plain).add(`(${valuesOf(entry)})`)
  }
  await plain.flush()
  await optioned.flush()
  // None of them was there before.
  await applyChanges(db, changes)
  await addMembersOf(db, open, members)
  return { fenced, conflicts: [] }
}

/**
 * A leap's void as the voids between the rows that are there: entries that were on their way here when Redis forgot them. Nothing comes
 * into the range after it, for what is older was finished by this owner, or fenced off. Index: entries_pk.
 */
async function clipped(db: Db, entry: Entry): Promise<Entry[]> {
  const { from, to } = voidRange(entry)
  const rows = await db.select<{ seq: string; void_from: string | null }>(
    'SELECT seq, void_from FROM entries WHERE conversation = ? AND seq BETWEEN ? AND ? ORDER BY seq',
    [entry.conversation, from, to],
  )
  const taken = rows.map((row) => ({ from: Number(row.void_from ?? row.seq), to: Number(row.seq) }))
  return rangesBetween({ from, to }, taken).map((range) => ({
    ...entry,
    seq: range.to,
    content: JSON.stringify(range),
  }))
}

async function insertVoid(db: Db, entry: Entry, reason: string | undefined): Promise<void> {
  for (const part of await clipped(db, entry)) await db.run(INSERT, [[toValues(part, reason)]])
}

/** The slow way, after a batch was refused: what is there is compared, the rest goes in one by one. */
async function insertEach(db: Db, batch: readonly FencedEntry[], group: string, members: readonly string[]) {
  const { open, fenced } = await hold(db, batch, group)
  const there = await readIds(
    db,
    open.map(({ entry }) => entry),
  )
  const conflicts: Conflict[] = []
  const changes: Entry[] = []
  for (const { entry, reason: voidReason } of open) {
    if (entry.type === 'void') {
      // What is there of it already counts as a row, so a repetition adds nothing.
      await insertVoid(db, entry, voidReason)
      continue
    }
    const id = there.get(keyOf(entry.conversation, entry.seq))
    if (id === entry.id) continue
    const reason = await insertOne(db, entry, id)
    if (reason !== undefined) conflicts.push({ entry, reason })
    else if (mayChange(entry)) changes.push(entry)
  }
  // Not those that were there: what they change was changed with them.
  await applyChanges(db, changes)
  // For a refused entry too: the caller asks once per conversation, and an entry that can be stored may follow.
  await addMembersOf(db, open, members)
  return { fenced, conflicts }
}

/**
 * @param there the id of the row at this place: null for a tombstone, undefined when there was no row
 * @returns why it can never be stored, or undefined when it is
 */
async function insertOne(db: Db, entry: Entry, there: string | null | undefined): Promise<string | undefined> {
  try {
    // A statement that fails leaves the rest of the transaction as it was (InnoDB, "Error Handling").
    if (there === undefined) await db.run(INSERT, [[toValues(entry)]])
    else if (there === null) await replaceTombstone(db, entry)
    else return 'seq_conflict'
  } catch (error) {
    if (errnoOf(error) === ER_DUPLICATE) return duplicateOf(db, entry)
    if (isDataError(error)) return `rejected: ${describe(error as Error)}`
    throw error
  }
}

/** A duplicate that was not there when we looked: in this very batch, under another key, or written meanwhile. */
async function duplicateOf(db: Db, entry: Entry): Promise<string | undefined> {
  const id = (await readIds(db, [entry])).get(keyOf(entry.conversation, entry.seq))
  if (id === entry.id) return undefined
  return id === undefined || id === null ? 'id_conflict' : 'seq_conflict'
}

/** The server's number and column, without the value: that is somebody's text. */
function describe(error: Error & { code?: string; errno?: number }): string {
  const column = /column (?:`[^`]*`\.)*[`']?(\w+)[`']? at row/.exec(error.message)?.[1]
  return `${error.code ?? 'error'} ${error.errno ?? ''}${column ? ` in ${column}` : ''}`
}

/**
 * What else the void covered, of entries that were given up as lost together, stays void. What was recalled or edited meanwhile comes as
 * it is now.
 */
async function replaceTombstone(db: Db, given: Entry): Promise<void> {
  const { conversation, seq } = given
  const [old] = await db.select<{
    void_from: string | null
    n: string
    reason: string | null
    content: string
    fold: string | null
  }>('SELECT void_from, n, reason, content, fold FROM entries WHERE conversation = ? AND seq = ? AND id IS NULL', [
    conversation,
    seq,
  ])
  const fold = old?.fold == null ? undefined : parseFold(old.fold)
  const entry = old && (fold?.gone || fold?.edited) ? { ...given, content: old.content } : given
  await db.run(
    `UPDATE entries SET id = ?, n = ?, from_user = ?, type = ?, content = ?, client_id = ?, sent_at = ?, void_from = ?, options = ?, reason = ?
      WHERE conversation = ? AND seq = ? AND id IS NULL`,
    [...toValues(entry).slice(2), conversation, seq],
  )
  if (!old || Number(old.void_from ?? seq) === seq) return
  const rest = voidEntry(conversation, { from: Number(old.void_from), to: seq - 1 }, Number(old.n), entry.sentAt)
  await insertVoid(db, rest, old.reason ?? undefined)
}

const keyOf = (conversation: string, seq: number | string): string => `${conversation} ${seq}`

/** Index entries_pk, one range of seqs per conversation: short, since a batch holds neighbours. @returns id by `keyOf` */
async function readIds(db: Db, wanted: readonly Entry[]): Promise<Map<string, string | null>> {
  const found = new Map<string, string | null>()
  for (const [conversation, entries] of groupBy(wanted, ({ conversation }) => conversation)) {
    const rows = await db.select<{ seq: string; id: string | null }>(
      'SELECT seq, id FROM entries WHERE conversation = ? AND seq IN (?)',
      [conversation, entries.map(({ seq }) => seq)],
    )
    for (const row of rows) found.set(keyOf(conversation, row.seq), row.id)
  }
  return found
}

export interface Tombstone {
  conversation: string
  seq: number
  /** Why its entry can never be stored. */
  reason: string
  /** What the entry would have had as `n`; by default that of the row before. */
  n?: number
}

/**
 * Declares that a seq holds nothing, so that readers pass it. A row that is there stays.
 * @returns false when there is a row at this seq already, or when the name or the seq cannot be one
 * @throws AppError `unavailable`
 */
export async function insertTombstone(store: Store, { conversation, seq, reason, n }: Tombstone): Promise<boolean> {
  if (!parseConversation(conversation) || !Number.isSafeInteger(seq) || seq < 1) return false
  return store.use(async (db) => {
    const before = n ?? (await readRows(db, conversation, 'seq < ?', 'DESC', seq, 1))[0]?.entry.n ?? 0
    try {
      await db.run(`INSERT INTO entries (${COLUMNS}) VALUES (?)`, [
        [
          conversation,
          seq,
          null,
          before,
          '',
          'void',
          '{}',
          '',
          Date.now(),
          seq,
          null,
          [...reason].slice(0, 255).join(''),
        ],
      ])
      return true
    } catch (error) {
      if (errnoOf(error) !== ER_DUPLICATE) throw error
      return false
    }
  })
}
