/** What was said is found by whoever may read it, and by nobody else. */
import t from 'tap'
import { type TestUser, until, type World, world } from '../src/index.js'

interface Results {
  results: {
    message: { conversation: string; seq: number; from: string; content: { text?: string } }
    snippet: string
    marks: [number, number][]
  }[]
  nextCursor: string | null
  complete: boolean
  code?: string
}

const ask = (w: World, user: TestUser, q: string, more = '') =>
  w.http<Results>('GET', `search?q=${encodeURIComponent(q)}${more}`, { token: user.token })

async function texts(w: World, user: TestUser, q: string, more = ''): Promise<(string | undefined)[]> {
  const reply = await ask(w, user, q, more)
  if (reply.status !== 200) throw new Error(`searching: ${reply.status} ${reply.text}`)
  return reply.body.results.map(({ message }) => message.content.text)
}

/** Until the index has come to everything that the user may read. */
const complete = (w: World, user: TestUser) =>
  until('the index is complete', async () => (await ask(w, user, 'x')).body.complete === true, 20_000)

async function say(w: World, from: TestUser, room: string, text: string): Promise<number> {
  const body = { to: { room }, content: { text } }
  return (await w.http<{ seq: number }>('POST', 'messages', { token: from.token, body })).body.seq
}

t.test('Chinese, mixed and plain words; the best first, of equals the newest; pages; limits', async (t) => {
  const w = await world(t)
  const [alice, bob] = [await w.user(), await w.user()]
  const said = [
    [
      '明天的会议改到三点',
      '我的iPhone15手机坏了',
      'The Quick brown fox',
      'quick quick quick',
      'a quick one',
      'nothing',
    ],
    ['会开完了，议案过了', '👍 ok'],
  ].flat()
  for (const text of said) await alice.send(bob, { text })
  const { conversation } = await alice.send(bob, { name: 'quick.pdf', quick: 'quick' }, { type: 'x-app' })
  await complete(w, bob)
  t.same(
    await texts(w, bob, '会议'),
    ['明天的会议改到三点'],
    'within a sentence, and not where its characters stand apart',
  )
  t.same(await texts(w, bob, '会'), ['会开完了，议案过了', '明天的会议改到三点'], 'one character')
  t.same(await texts(w, bob, 'IPHONE15 手机'), ['我的iPhone15手机坏了'])
  t.same(await texts(w, bob, 'quick'), ['quick quick quick', 'a quick one', 'The Quick brown fox'])
  t.same(await texts(w, bob, 'the'), ['The Quick brown fox'], 'a word that servers leave out of their own')
  t.same(await texts(w, bob, 'qui'), ['quick quick quick', 'a quick one', 'The Quick brown fox'], 'its beginning')
  t.same(await texts(w, bob, 'brown quick'), ['The Quick brown fox'], 'all words, in any order')
  t.same(await texts(w, bob, 'brown purple'), [])
  const marked = (await ask(w, bob, '会议')).body.results[0]!
  t.same([marked.snippet, marked.marks], ['明天的会议改到三点', [[3, 5]]])

  const pages: (string | undefined)[] = []
  let cursor = ''
  do {
    const page = await ask(w, bob, 'quick', `&limit=2${cursor}`)
    pages.push(...page.body.results.map(({ message }) => message.content.text))
    cursor = page.body.nextCursor === null ? '' : `&cursor=${page.body.nextCursor}`
  } while (cursor !== '')
  t.same(pages, ['quick quick quick', 'a quick one', 'The Quick brown fox'])

  t.same(await texts(w, bob, 'quick', `&from=${bob.name}`), [])
  t.equal((await texts(w, bob, 'quick', `&from=${alice.name}&conversation=${conversation}`)).length, 3)
  t.same(await texts(w, bob, 'quick', `&before=${Date.now() - 3_600_000}`), [])
  t.equal((await texts(w, bob, 'quick', `&after=${Date.now() - 3_600_000}&before=${Date.now() + 3_600_000}`)).length, 3)
  const bad = ['👍 ?!', 'a b c d e f g h i j k l m n o p q r s t u v w x y z 1 2 3 4 5 6 7 8 9']
  for (const q of bad) t.match(await ask(w, bob, q), { status: 400, body: { code: 'invalid_request' } }, q)
  for (const wrong of [
    'nonsense',
    Buffer.from('5000 1').toString('base64url'),
    Buffer.from('1 x').toString('base64url'),
  ])
    t.match(await ask(w, bob, 'quick', `&cursor=${wrong}`), { status: 400, body: { code: 'invalid_request' } }, wrong)
})

t.test('never across a permission', async (t) => {
  const w = await world(t)
  const [alice, bob, eve] = [await w.user(), await w.user(), await w.user()]
  const { conversation } = await alice.send(bob, { text: 'secret plan' })
  await eve.send(bob, { text: 'secret wish' })
  const body = { name: 'a room', members: [bob.name] }
  const made = await w.http<{ id: string }>('POST', 'rooms', { token: alice.token, body })
  const room = made.body.id
  await say(w, alice, room, 'secret before')
  const member = `rooms/${room}/members/${eve.name}`
  t.equal((await w.http('PUT', member, { token: alice.token, body: {} })).status, 200)
  await say(w, alice, room, 'secret inside')
  for (const user of [alice, bob, eve]) await complete(w, user)
  t.same((await texts(w, alice, 'secret')).sort(), ['secret before', 'secret inside', 'secret plan'])
  t.same((await texts(w, bob, 'secret')).sort(), ['secret before', 'secret inside', 'secret plan', 'secret wish'])
  t.same(
    (await texts(w, eve, 'secret')).sort(),
    ['secret inside', 'secret wish'],
    'from the joining on, and only her own',
  )
  for (const id of [conversation, `dm:${[alice.name, eve.name].sort().reverse().join(':')}`, `feed:${bob.name}`])
    t.match(
      await ask(w, eve, 'secret', `&conversation=${id}`),
      { status: 404, body: { code: 'conversation_not_found' } },
      id,
    )
  t.equal((await w.http('DELETE', member, { token: alice.token })).status, 204)
  t.same(await texts(w, eve, 'secret'), ['secret wish'], 'who has left finds nothing there')
  t.equal((await ask(w, eve, 'secret', `&conversation=room:${room}`)).status, 404)
})

t.test(
  'what was stored while nobody indexed is made up for, also by another worker, and says so until then',
  async (t) => {
    const w = await world(t, { count: { task: 0 } })
    const [alice, bob] = [await w.user(), await w.user()]
    const stop = await w.start('task', { TIDINGS_SEARCH: 'off' })
    const { conversation } = await alice.send(bob, { text: 'number 1' })
    for (let i = 2; i <= 30; i++) await alice.send(bob, { text: `number ${i}` })
    const reached = (table: string) =>
      w.store.use(async (db) => {
        const rows = await db.select<{ seq: string | null }>(
          `SELECT MAX(seq) AS seq FROM ${table} WHERE conversation = ?`,
          [conversation],
        )
        return Number(rows[0]?.seq ?? 0)
      })
    await until('all is stored', async () => (await reached('entries')) === 30)
    t.match((await ask(w, bob, 'number')).body, { results: [], complete: false })
    await w.start('task', { TIDINGS_SEARCH_PER_S: '50' })
    await complete(w, bob)
    t.equal((await texts(w, bob, 'number', '&limit=100')).length, 30)
    // The owner goes without a word: the row of the job stays until its time is over.
    await stop()
    t.equal((await texts(w, bob, 'number 17')).length, 1)
    const off = await world(t, { env: { TIDINGS_SEARCH: 'off' } })
    const carol = await off.user()
    t.match(await ask(off, carol, 'number'), { status: 404, body: { code: 'not_found' } }, 'turned off')
  },
)

t.test('what was edited is found by what it says now, what was recalled not at all', async (t) => {
  const w = await world(t)
  const [alice, bob] = [await w.user(), await w.user()]
  const edited = await alice.send(bob, { text: 'blue whale' })
  const recalled = await alice.send(bob, { text: 'blue secret' })
  const { conversation } = recalled
  await complete(w, bob)
  const change = (method: string, id: string, body?: object) =>
    w.http(method, `messages/${id}`, { token: alice.token, ...(body && { body }) })
  t.equal((await change('PATCH', edited.id, { content: { text: 'green whale' } })).status, 202)
  t.equal((await change('DELETE', recalled.id)).status, 202)
  t.same(await texts(w, bob, 'blue'), [], 'at once, whatever the index has')
  await complete(w, bob)
  t.same(await texts(w, bob, 'green'), ['green whale'])
  t.same(await texts(w, bob, 'blue'), [])
  const rows = await w.store.use((db) =>
    db.select<{ words: string }>('SELECT words FROM search_entries WHERE conversation = ?', [conversation]),
  )
  t.match(rows, [{ words: /tokgreen/ }], 'no word of what was taken back stays')
  t.equal(rows.length, 1)
})

t.test('the words of what retention removes go with it', async (t) => {
  const w = await world(t, { env: { TIDINGS_RETENTION_DAYS: '30', TIDINGS_RETENTION_EVERY_S: '1' } })
  const [alice, bob] = [await w.user(), await w.user()]
  const { conversation } = await alice.send(bob, { text: 'ancient word' })
  await alice.send(bob, { text: 'younger word' })
  await complete(w, bob)
  t.equal((await texts(w, bob, 'word')).length, 2)
  const back = 40 * 86_400_000
  await w.store.use((db) =>
    db.run('UPDATE entries SET sent_at = sent_at - ?, id = id - ? WHERE conversation = ? AND seq = 1', [
      back,
      String(BigInt(back) << 22n),
      conversation,
    ]),
  )
  await until('its words are gone', async () => {
    const rows = await w.store.use((db) =>
      db.select('SELECT seq FROM search_entries WHERE conversation = ?', [conversation]),
    )
    return rows.length === 1
  })
  t.same(await texts(w, bob, 'word'), ['younger word'])
})
