/** The word list and what servers push: masked, refused or flagged like messages, by room, and safe to repeat. */
import t from 'tap'
import { until, world } from '../src/index.js'
import { EVERYONE, history, PUSH, type Pushed, texts } from './pushing.js'
import { inForce, KEY, lists, operator } from './word-lists.js'

t.test('what is pushed passes the list, once for all that it goes to', async (t) => {
  const env = { TIDINGS_SERVICE_TOKENS: `shop:push:${PUSH}`, TIDINGS_ADMIN_KEYS: `${KEY.name}:${KEY.secret}` }
  const w = await world(t, { env })
  const list = lists(t, w)
  const [alice, bob, carol] = [await w.user(), await w.user(), await w.user()]
  const feed = `feed:${alice.name}`
  const socket = await alice.connect()
  const push = (to: object, text: string, { key, ...rest }: { key?: string; type?: string } = {}) =>
    w.http<Pushed & { code?: string }>('POST', 'push', {
      token: PUSH,
      body: { to, content: { text }, ...rest },
      ...(key !== undefined && { headers: { 'idempotency-key': key } }),
    })
  const users = [alice.name, bob.name]
  t.equal((await push({ users }, 'bad before there is a list')).status, 202)
  t.equal((await push({ users: [alice.name] }, 'vile', { key: 'before' })).status, 202)

  await list.put({ words: ['bad', { word: 'vile', action: 'reject' }, { word: 'odd', action: 'flag' }] })
  await inForce(w, 3)

  await t.test('masked in every feed, whatever its type', async (t) => {
    const body = `{"to":{"users":["${alice.name}","${bob.name}"]},"content":{"n":12345678901234567890,"text":"so BAD"}}`
    t.match((await w.http('POST', 'push', { token: PUSH, body })).body, { accepted: 2, refused: [] })
    t.match((await push({ users }, 'bad text', { type: 'text' })).body, { accepted: 2 })
    t.match((await push({ users }, 'bad kind', { type: 'x-kind' })).body, { accepted: 2 })
    await socket.until('all', () => texts(socket, feed).length === 5)
    t.same(texts(socket, feed), ['bad before there is a list', 'vile', 'so ***', '*** text', '*** kind'])
    t.ok(socket.raw.some((raw) => raw.includes('"content":{"n":12345678901234567890,"text":"so ***"}')))
    t.same(
      (await history(w, bob, `feed:${bob.name}`)).slice(1).map(({ content }) => content?.text),
      ['so ***', '*** text', '*** kind'],
    )
  })

  await t.test('refused: nobody gets it, and the server is told', async (t) => {
    const head = await w.redis.get(w.keys.seq(feed))
    for (const to of [{ users }, { users: [...users, 'nobody'] }, { all: true }]) {
      for (const key of [undefined, `k-${JSON.stringify(to).length}`]) {
        const refused = await push(to, 'VILE', { ...(key !== undefined && { key }) })
        t.match(refused, { status: 422, body: { code: 'word_rejected', status: 422 } })
      }
    }
    t.equal(await w.redis.get(w.keys.seq(feed)), head)
    t.equal(await w.redis.exists(w.keys.seq(EVERYONE)), 0)
  })

  await t.test('a repeated call: who had it has it, and nobody else gets it', async (t) => {
    const again = await push({ users: [alice.name, carol.name] }, 'vile', { key: 'before' })
    t.match(again, {
      status: 202,
      body: { accepted: 1, duplicates: 1, refused: [{ user: carol.name, code: 'word_rejected' }] },
    })
    t.equal(await w.redis.exists(w.keys.seq(`feed:${carol.name}`)), 0)
    t.same(await w.redis.smembers(w.keys.conversations(carol.name)), [])
    t.match((await push({ users: [alice.name] }, 'other', { key: 'before' })).body, {
      accepted: 0,
      refused: [{ code: 'idempotency_conflict' }],
    })
    t.match((await push({ users }, 'bad', { key: 'masked' })).body, { accepted: 2, duplicates: 0 })
    t.match((await push({ users }, 'bad', { key: 'masked' })).body, { accepted: 2, duplicates: 2 }, 'by what was sent')
  })

  await t.test('flagged: it passes, and one entry of the call is listed', async (t) => {
    const flagged = async () =>
      (await operator(w, 'GET', 'admin/flagged')).body as { messages: { conversation: string }[] }
    t.match((await push({ users }, 'how odd', { key: 'odd' })).body, { accepted: 2 })
    t.match((await push({ users }, 'how odd', { key: 'odd' })).body, { accepted: 2, duplicates: 2 })
    const all = await push({ all: true }, 'odd for all')
    await until('they are written down', async () => (await flagged()).messages.length > 1)
    const { messages } = await flagged()
    t.equal(messages.length, 2, 'not one for each user, and not again')
    t.match(messages, [
      { id: all.body.message!.id, conversation: EVERYONE, from: 'service:shop', words: ['odd'] },
      { from: 'service:shop', type: 'system', words: ['odd'] },
    ])
    t.ok([feed, `feed:${bob.name}`].includes(messages[1]!.conversation))
  })

  await t.test('a room has rules of its own', async (t) => {
    const made = await w.http<{ id: string; conversation: string }>('POST', 'rooms', {
      token: alice.token,
      body: { name: 'Loose' },
    })
    const { id: room, conversation } = made.body
    await list.put({
      words: ['bad', { word: 'vile', action: 'reject' }],
      rooms: { [room]: { action: 'reject', words: ['local'] } },
    })
    await inForce(w, 3)
    for (const text of ['bad', 'local']) {
      t.match(await push({ room }, text), { status: 422, body: { code: 'word_rejected' } })
      t.match(await push({ room }, text, { key: text }), { status: 422, body: { code: 'word_rejected' } })
    }
    t.match(await push({ users }, 'local'), { status: 202 })
    await list.put({ words: ['bad', { word: 'vile', action: 'reject' }], rooms: { [room]: { off: true } } })
    await inForce(w, 2)
    t.match(await push({ room }, 'bad'), { status: 202, body: { accepted: 1 } })
    t.same(
      (await history(w, alice, conversation)).slice(1).map(({ content }) => content?.text),
      ['bad'],
    )
    t.match(await push({ room: 'x'.repeat(16) }, 'fine'), { status: 404, body: { code: 'room_not_found' } })
  })

  await t.test('who may not push is told so, and nothing of words', async (t) => {
    const body = { to: { users }, content: { text: 'vile' } }
    t.match(await w.http('POST', 'push', { token: alice.token, body }), { status: 403, body: { code: 'forbidden' } })
  })
})
