/** Dead letters end to end: what was given up can be mended, put back, and is then where it belongs. */
import { type Letter, lastLetter, readLetters, retryLetter } from '@tidings/stream'
import t from 'tap'
import { until, type World, world } from '../src/index.js'

const PERSIST = { group: 'persist', partition: 0 } as const
const ONE_PARTITION = { env: { TIDINGS_PARTITIONS: '1' } }

async function onlyLetter(w: World): Promise<Letter> {
  await until('a letter of persist', async () => (await w.redis.xlen(w.keys.dead(0, 'persist'))) === 1)
  return (await readLetters(w.redis, w.keys, PERSIST, { limit: 1 }))[0]!
}

const sql = (w: World, statement: string, values: unknown[] = []) =>
  w.store.use((db) => db.select<Record<string, unknown>>(statement, values))

interface History {
  messages: { seq: number; content: unknown }[]
  void: [number, number][]
}

t.test('a row that MySQL refused is void; mended and put back, it stands in its place and is read there', async (t) => {
  const w = await world(t, ONE_PARTITION)
  const alice = await w.user()
  const bob = await w.user()
  await w.store.use((db) =>
    db.run("ALTER TABLE entries ADD CONSTRAINT no_lemons CHECK (content NOT LIKE '%lemon%')", []),
  )
  await alice.send(bob, { text: 'one' })
  const { conversation } = await alice.send(bob, { text: 'lemon' })
  await alice.send(bob, { text: 'three' })
  const letter = await onlyLetter(w)
  t.match(letter.reason, /^rejected: .*4025/)
  t.notMatch(letter.reason, /lemon/, 'the reason does not quote the content')
  const rows = () => sql(w, 'SELECT seq, type FROM entries WHERE conversation = ? ORDER BY seq', [conversation])
  await until('the others are stored', async () => (await rows()).length === 3)
  t.match(await rows(), [{ type: 'text' }, { type: 'void' }, { type: 'text' }])
  // What only MySQL tells: the log would still hold the entry.
  await w.redis.del(w.keys.log(conversation))
  const history = async () =>
    (await w.http<History>('GET', `conversations/${conversation}/messages?after=0`, { token: bob.token })).body
  t.match(await history(), { messages: [{ seq: 1 }, { seq: 3 }], void: [[2, 2]] })

  await w.store.use((db) => db.run('ALTER TABLE entries DROP CONSTRAINT no_lemons', []))
  await retryLetter(w.redis, w.keys, letter)
  await until('it took the place of its tombstone', async () => (await rows())[1]!.type === 'text')
  t.match(await history(), { messages: [{ seq: 1 }, { seq: 2, content: { text: 'lemon' } }, { seq: 3 }], void: [] })
  t.equal(await w.redis.xlen(w.keys.dead(0, 'persist')), 0)
  const socket = await bob.connect({ device: 'later', query: '&from=oldest' })
  t.same(
    socket.messages().map(({ seq }) => seq),
    [1, 2, 3],
    'a device that comes later sees all three, once',
  )
})

t.test('a letter whose seq is taken by another entry dies again, and the row stays', async (t) => {
  const w = await world(t, ONE_PARTITION)
  const alice = await w.user()
  const bob = await w.user()
  const { conversation, id } = await alice.send(bob, { text: 'the real one' })
  const forged = {
    id: '77',
    conversation,
    seq: '1',
    n: '1',
    from: alice.name,
    type: 'text',
    content: '{"text":"forged"}',
  }
  const fields = Object.entries({ ...forged, clientId: '', sentAt: '1', trace: '' }).flat()
  const rows = () => sql(w, 'SELECT id FROM entries WHERE conversation = ?', [conversation])
  await until('stored', async () => (await rows()).length === 1)
  await w.redis.xadd(w.keys.messages(0), '*', ...fields)
  const letter = await onlyLetter(w)
  t.equal(letter.reason, 'seq_conflict')
  t.same(letter.fields, fields)
  await retryLetter(w.redis, w.keys, letter)
  await until('a new letter', async () => ![undefined, letter.id].includes(await lastLetter(w.redis, w.keys, PERSIST)))
  t.equal((await onlyLetter(w)).reason, 'seq_conflict')
  await alice.send(bob, { text: 'two' })
  await until('what follows is stored', async () => (await rows()).length === 2)
  t.equal(await w.redis.xlen(w.keys.dead(0, 'persist')), 1, 'one letter, not one per round')
  t.match(await rows(), [{ id }, {}])
})
