import { randomBytes } from 'node:crypto'
import { changeContent } from '@tidings/protocol'
import { addUses, deleteUnneeded, removeUses, removeUsesIn, transaction } from '@tidings/store'
import t from 'tap'
import * as files from '../src/files/files.js'
import { settleUses, startFileSweeper } from '../src/files/sweeper.js'
import { log, until, world } from './world.js'

const { deps, store, people, say, persist, mysql } = await world(t)
await people('alice', 'bob')

const newId = (): string => randomBytes(16).toString('base64url')
const begin = (user: string, id: string, size = 10, quota = 0) =>
  files.beginFile({ ...deps, fileQuotaBytes: quota }, { user, id, name: 'a.txt', size })
const done = (user: string, id: string, size = 10) =>
  files.storeFile(deps, {
    ...{ user, id, size, mediaType: 'text/plain', sha256: 'a'.repeat(64), width: 0, height: 0 },
  })
async function stored(user = 'alice'): Promise<string> {
  const id = newId()
  await begin(user, id)
  await done(user, id)
  return id
}
const open = (user: string, id: string) => files.openFile(deps, { user, id })
const rowOf = async (id: string) =>
  (
    await store.use((db) =>
      db.select<{ uses: number; unused_since: Date | null; deleted_at: Date | null }>(
        'SELECT uses, unused_since, deleted_at FROM files WHERE id = ?',
        [id],
      ),
    )
  )[0]
const usesOf = (id: string) =>
  store.use((db) =>
    db.select<{ message: string; unproven_since: Date | null }>(
      'SELECT CAST(message AS CHAR) AS message, unproven_since FROM file_uses WHERE file = ? ORDER BY message',
      [id],
    ),
  )
const showing = (...ids: string[]): { type: string; content: string } => {
  const of = (id: string) => ({ url: `/api/v1/files/${id}`, size: 10, mediaType: 'text/plain', name: 'a.txt' })
  const [file, thumbnail] = ids
  return { type: 'file', content: JSON.stringify({ ...of(file!), ...(thumbnail && { thumbnail: of(thumbnail) }) }) }
}
const later = (): Date => new Date(Date.now() + 1_000)

t.test('beginning and storing may be repeated, and are for the owner alone', async (t) => {
  const id = newId()
  await begin('alice', id)
  await begin('alice', id)
  await t.rejects(open('alice', id), { code: 'file_not_found' }, 'not before all of it is there')
  await t.rejects(done('bob', id), { code: 'file_not_found' })
  const first = await done('alice', id)
  t.match(first, { id, owner: 'alice', size: 10, mediaType: 'text/plain', width: 0 })
  t.same(await done('alice', id, 99), first, 'it stays what it was')
  await files.dropFile(deps, { user: 'alice', id })
  t.match(await open('alice', id), { id }, 'what is stored is not dropped')
  await t.rejects(open('bob', id), { code: 'file_not_found' })
  await t.rejects(files.deleteFile(deps, { user: 'bob', id }), { code: 'file_not_found' })
  for (const bad of ['', 'x', '../../etc/passwd/etc/pas'])
    await t.rejects(open('alice', bad), { code: 'file_not_found' })
})

t.test('what is set aside counts, and what is given back does not', async (t) => {
  const quota = 100_000
  await people('carol')
  const first = newId()
  await begin('carol', first, 60_000, quota)
  await t.rejects(begin('carol', newId(), 50_000, quota), {
    code: 'file_quota_exceeded',
    details: { quotaBytes: quota },
  })
  const both = await Promise.allSettled([
    begin('carol', newId(), 30_000, quota),
    begin('carol', newId(), 30_000, quota),
  ])
  t.same(both.map(({ status }) => status).sort(), ['fulfilled', 'rejected'], 'two at once do not take the same room')
  await done('carol', first, 10_000)
  await begin('carol', newId(), 50_000, quota)
})

t.test('a file counts as 4,096 bytes, however small it is', async (t) => {
  await people('carl')
  const quota = 10_000
  for (let i = 0; i < 2; i++) {
    const id = newId()
    await begin('carl', id, 1, quota)
    await done('carl', id, 1)
  }
  await t.rejects(begin('carl', newId(), 1, quota), { code: 'file_quota_exceeded' })
  await begin('carl', newId(), 1, 12_288)
})

t.test(
  'a use whose message is stored stays, one whose message never came goes, and what waits in the log waits',
  async (t) => {
    const file = await stored()
    const said = await say('alice', 'bob', '', showing(file))
    const use = { files: [file], conversation: 'dm:alice:bob', above: said.seq - 1, now: new Date() }
    t.equal(await addUses(store, { ...use, message: said.id }), undefined)
    t.equal(await addUses(store, { ...use, message: said.id }), undefined, 'again')
    t.equal(await addUses(store, { ...use, message: '77' }), undefined)
    t.match(await rowOf(file), { uses: 2, unused_since: null })

    await settleUses(deps, later())
    t.match(await usesOf(file), [{ message: said.id, unproven_since: Date }], 'the log has it')
    t.match(await rowOf(file), { uses: 1, unused_since: null })
    await persist('dm:alice:bob')
    await settleUses(deps, later())
    t.match(await usesOf(file), [{ message: said.id, unproven_since: null }], 'MySQL has it')

    await transaction(store, (db) => removeUsesIn(db, [said.id], new Date()))
    t.match(await rowOf(file), { uses: 0, unused_since: Date })
    const sweep = {
      now: new Date(),
      unusedBefore: new Date(0),
      begunBefore: new Date(0),
      ownersEndedAfter: new Date(0),
      limit: 10,
    }
    await deleteUnneeded(store, sweep)
    t.match(await rowOf(file), { deleted_at: null }, 'not yet')
    await deleteUnneeded(store, { ...sweep, unusedBefore: later() })
    t.match(await rowOf(file), { deleted_at: Date })
    t.match(await addUses(store, { ...use, message: '78' }), { file, reason: 'gone' }, 'nobody refers to it any more')
    t.ok((await files.deletedFiles(deps, { limit: 0 })).includes(file))
    const other = await stored()
    await files.forgetFiles(deps, { ids: [file, other] })
    t.equal(await rowOf(file), undefined)
    t.match(await open('alice', other), { id: other }, 'only what was deleted is forgotten')
  },
)

/** How often the logs were read, and everything else as it is. */
function countedReader() {
  const counted = {
    ...deps.reader,
    reads: 0,
    after: (...asked: Parameters<typeof deps.reader.after>) => {
      counted.reads++
      return deps.reader.after(...asked)
    },
  }
  return counted
}
t.test('what is stored is settled without a look at the logs, and what never came with one look', async (t) => {
  await people('dora', 'emil')
  const file = await stored('dora')
  const conversation = 'dm:dora:emil'
  const use = { files: [file], conversation, now: new Date() }
  for (let i = 0; i < 20; i++) {
    const { id, seq } = await say('dora', 'emil', '', showing(file))
    await addUses(store, { ...use, message: id, above: seq - 1 })
  }
  await persist(conversation)
  const reader = countedReader()
  await settleUses({ store, reader }, later())
  t.equal(reader.reads, 0)
  t.ok((await usesOf(file)).every(({ unproven_since }) => unproven_since === null))

  for (let i = 1; i <= 40; i++) await addUses(store, { ...use, message: String(i), above: i % 20 })
  const waiting = await say('dora', 'emil', '', showing(file))
  await addUses(store, { ...use, message: waiting.id, above: waiting.seq - 1 })
  await settleUses({ store, reader }, later())
  t.equal(reader.reads, 1, 'the part of the log that all of them mean')
  t.match(await usesOf(file), { length: 21 }, 'those that never came are gone')
})

/** What `from` makes of a message, as accept appends it. */
async function change(from: string, to: string, target: { id: string; seq: number }, content: string | undefined) {
  const { id, seq } = target
  const type = content === undefined ? 'recall' : 'edit'
  const text = changeContent(content === undefined ? { type: 'recall', id, seq } : { type: 'edit', id, seq, content })
  const detail = content === undefined ? 0 : text.indexOf('"content":') + '"content":'.length
  const rule = { what: type, target: { ...target, sentAt: Date.now() }, base: 0, until: 0, detail } as const
  return say(from, to, '', { type, content: text, change: rule })
}

t.test('what an edit replaces is not used any more, and what it shows is', async (t) => {
  await people('joe', 'kim')
  const conversation = 'dm:joe:kim'
  const [first, second, third] = [await stored('joe'), await stored('joe'), await stored('joe')]
  const said = await say('joe', 'kim', '', showing(first))
  const above = said.seq - 1
  const add = (file: string) =>
    addUses(store, { files: [file], message: said.id, conversation, above, now: new Date() })
  await add(first)
  await persist(conversation)
  await settleUses(deps, later())
  t.match(await usesOf(first), [{ unproven_since: null }])

  await add(second)
  await change('joe', 'kim', said, showing(second).content)
  await settleUses(deps, later())
  t.match(await usesOf(second), [{ unproven_since: Date }], 'the edit is on its way')
  t.match(await usesOf(first), [{ unproven_since: null }], 'as far as MySQL knows')
  await persist(conversation)
  await settleUses(deps, later())
  t.same(await usesOf(first), [])
  t.match(await rowOf(first), { uses: 0, unused_since: Date })
  t.match(await usesOf(second), [{ unproven_since: null }])
  t.match(await open('kim', second), { id: second })

  await add(third)
  await settleUses(deps, later())
  t.same(await usesOf(third), [], 'that of an edit which was refused')
  t.match(await rowOf(third), { uses: 0, unused_since: Date })

  const looked = new Date()
  await addUses(store, { files: [second], message: said.id, conversation, above, now: later() })
  await removeUses(store, [{ file: second, message: said.id }], looked, new Date())
  t.match(await usesOf(second), [{ unproven_since: Date }], 'written down again since somebody looked')

  await change('joe', 'kim', said, undefined)
  await persist(conversation)
  t.same(await usesOf(second), [], 'recalled')
  await add(second)
  await settleUses(deps, later())
  t.same(await usesOf(second), [], 'by an edit that came after the recall')
  t.match(await rowOf(second), { uses: 0, unused_since: Date })
})

t.test('a use that comes while those of its message are removed is counted, and goes later', async (t) => {
  await people('lea', 'max')
  const [first, second] = [await stored('lea'), await stored('lea')]
  const use = { message: '4711', conversation: 'dm:lea:max', above: 0, now: new Date() }
  await addUses(store, { ...use, files: [first] })
  await transaction(store, async (db) => {
    let asked = 0
    const between: typeof db = {
      ...db,
      async select(sql, values) {
        if (asked++ === 1) await addUses(store, { ...use, files: [second] })
        return db.select(sql, values)
      },
    }
    await removeUsesIn(between, ['4711'], new Date())
  })
  t.match(await rowOf(first), { uses: 0, unused_since: Date })
  t.match(await rowOf(second), { uses: (await usesOf(second)).length })
  await settleUses(deps, later())
  t.match(await rowOf(second), { uses: 0, unused_since: Date })
})

t.test('whoever may not read a file makes nobody read logs without end', async (t) => {
  await people('fay', 'gus')
  const file = await stored('fay')
  const reader = countedReader()
  const read = (user: string) => files.openFile({ ...deps, reader }, { user, id: file })
  const use = { files: [file], now: new Date() }
  for (let i = 1; i <= 300; i++)
    await addUses(store, { ...use, conversation: 'dm:fay:gus', message: String(i), above: i % 2 })
  await t.rejects(read('gus'), { code: 'file_not_found' })
  t.equal(reader.reads, 1)
  const shown = await say('fay', 'gus', '', showing(file))
  await addUses(store, { ...use, conversation: 'dm:fay:gus', message: shown.id, above: 0 })
  t.match(await read('gus'), { id: file }, 'what is shown is found behind all that')

  const hidden = await stored('fay')
  for (let i = 0; i < 30; i++) {
    const conversation = `dm:gus:z${i}`
    await addUses(store, { ...use, files: [hidden], conversation, message: String(1_000 + i), above: 0 })
  }
  reader.reads = 0
  await t.rejects(files.openFile({ ...deps, reader }, { user: 'gus', id: hidden }), { code: 'unavailable' })
  t.equal(reader.reads, 21, 'then it is given up')
})

t.test('a message far above where it was expected is found in the log', async (t) => {
  await people('hal', 'ida')
  const file = await stored('hal')
  await addUses(store, { files: [file], conversation: 'dm:hal:ida', message: '5', above: 0, now: new Date() })
  for (let i = 0; i < 250; i++) await say('hal', 'ida', String(i))
  const shown = await say('hal', 'ida', '', showing(file))
  await addUses(store, { files: [file], conversation: 'dm:hal:ida', message: shown.id, above: 0, now: new Date() })
  t.match(await open('ida', file), { id: file })
})

t.test('whatever has piled up goes in one sweep', async (t) => {
  await people('ned', 'olga')
  const MANY = 1_200
  const file = await stored('ned')
  const old = new Date(Date.now() - 2 * 3_600_000)
  const idOf = (i: number): string => `${i}`.padStart(22, 'x')
  await store.use(async (db) => {
    const uses = Array.from({ length: MANY }, (_, i) => [file, i + 1, 'dm:ned:olga', 0, old])
    await db.run('INSERT INTO file_uses (file, message, conversation, above, unproven_since) VALUES ?', [uses])
    await db.run('UPDATE files SET uses = ?, unused_since = NULL WHERE id = ?', [MANY, file])
    const rows = Array.from({ length: MANY }, (_, i) => [idOf(i), 'olga', 'a', 'text/plain', 1, new Date(), new Date()])
    await db.run('INSERT INTO files (id, owner, name, media_type, size, created_at, stored_at) VALUES ?', [rows])
    await db.run('UPDATE users SET deleted_at = ? WHERE id = ?', [new Date(), 'olga'])
  })
  // The next sweep would be in a minute.
  const sweeper = startFileSweeper({ store, reader: deps.reader, log, orphanMs: 3_600_000 })
  await until(async () => (await usesOf(file)).length === 0)
  const left = () =>
    store.use((db) => db.select('SELECT id FROM files WHERE owner = ? AND deleted_at IS NULL', ['olga']))
  await until(async () => (await left()).length === 0)
  await sweeper.stop()
  t.match(await rowOf(file), { uses: 0, unused_since: Date, deleted_at: null })
})

t.test('with MySQL away nobody is told that a file is not there', async (t) => {
  const file = await stored()
  mysql.cut()
  await t.rejects(open('alice', file), { code: 'unavailable' })
  mysql.heal()
  t.match(await open('alice', file), { id: file })
})

t.end()
