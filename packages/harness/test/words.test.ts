/** The word filter from outside: what is sent, what arrives, and how the list changes while all runs. */
import { startEtcd } from '@tidings/infra'
import { connectEtcd, createRegistryKeys } from '@tidings/registry'
import t from 'tap'
import { until, world } from '../src/index.js'
import { inForce, KEY, lists, metric, operator } from './word-lists.js'

const say = (text: string) => ({ content: { text } })

t.test('a word is masked, refused or flagged on every way in, live, and by room', async (t) => {
  const w = await world(t, { env: { TIDINGS_ADMIN_KEYS: `${KEY.name}:${KEY.secret}` } })
  const list = lists(t, w)
  const [alice, bob] = [await w.user(), await w.user()]
  const socket = await bob.connect()
  const writer = await alice.connect()
  const send = (body: object) => w.http<Record<string, unknown>>('POST', 'messages', { token: alice.token, body })
  const to = { user: bob.name }
  const dm = (await alice.send(bob, { text: 'bad before there is a list' })).conversation
  t.match(await socket.nextMessage(), { content: { text: 'bad before there is a list' } })

  await list.put({ words: ['bad', { word: 'vile', action: 'reject' }, { word: 'odd', action: 'flag' }] })
  await inForce(w, 3)

  await t.test('masked: the receiver, the sender and the history have the same', async (t) => {
    const body = '{"to":{"user":"TO"},"clientId":"m-1","content":{"n":12345678901234567890,"text":"so \\u0042AD"}}'
    const raw = body.replace('TO', bob.name)
    const sent = await w.http('POST', 'messages', { token: alice.token, body: raw })
    t.match(sent, { status: 202, body: { seq: 2, duplicate: false } })
    const { raw: frames } = socket
    await socket.next('message')
    t.match(frames.at(-1), '"content":{"n":12345678901234567890,"text":"so ***"}')
    const history = await w.http('GET', `conversations/${dm}/messages?after=1`, { token: alice.token })
    t.match(history.body, { messages: [{ content: { text: 'so ***' } }] })
    const again = await w.http('POST', 'messages', { token: alice.token, body: raw })
    t.match(again, { status: 202, body: { seq: 2, duplicate: true } })
  })

  await t.test('refused: nothing is appended, and the sender is told', async (t) => {
    const refused = await send({ to, ...say('VILE things') })
    t.match(refused, { status: 422, body: { code: 'word_rejected', status: 422 } })
    t.equal(refused.headers.get('content-type'), 'application/problem+json')
    const messages = [say('fine'), say('vile'), say('fine too')].map((one, i) => ({ to, clientId: `b-${i}`, ...one }))
    const batch = await w.http('POST', 'messages/batch', { token: alice.token, body: { messages } })
    t.match(batch.body, { results: [{ seq: 3 }, { code: 'word_rejected' }, { seq: 4 }] })
    writer.send({ op: 'send', to, ...say('v\u200bile'), clientId: 'w-1' })
    t.match(await writer.next('error'), { code: 'word_rejected', clientId: 'w-1', ref: 'send' })
    writer.send({ op: 'send', to, ...say('bad'), clientId: 'w-2' })
    t.match(await writer.next('sent'), { clientId: 'w-2', seq: 5 })
    t.same((await texts(socket, 3)).slice(-3), ['fine', 'fine too', '***'])
  })

  await t.test('flagged: it passes, and an operator finds it', async (t) => {
    const { id, seq, conversation } = await alice.send(bob, { text: 'how odd' }, { clientId: 'f-1' })
    await alice.send(bob, { text: 'how odd' }, { clientId: 'f-1' })
    t.match(await socket.nextMessage(), { id, content: { text: 'how odd' } })
    const flagged = async () =>
      (await operator(w, 'GET', 'admin/flagged')).body as { messages: object[]; nextCursor: unknown }
    await until('it is written down', async () => (await flagged()).messages.length > 0)
    const { messages, nextCursor } = await flagged()
    t.equal(messages.length, 1, 'once')
    t.match(messages, [{ id, seq, conversation, from: alice.name, type: 'text', words: ['odd'] }])
    t.equal(nextCursor, null)
    t.same((await operator(w, 'GET', `admin/flagged?cursor=${id}`)).body, { messages: [], nextCursor: null })
  })

  await t.test('a list that changes between two tries makes no conflict of a retry', async (t) => {
    const first = await alice.send(bob, { text: 'new word' }, { clientId: 'r-1' })
    await list.put({ words: ['bad', { word: 'word', action: 'reject' }] })
    await inForce(w, 2)
    const body = { to, clientId: 'r-1', ...say('new word') }
    t.match(
      await send(body),
      { status: 202, body: { id: first.id, duplicate: true } },
      'it was accepted: that stays so',
    )
    t.match(await send({ ...body, ...say('another word') }), { status: 409, body: { code: 'idempotency_conflict' } })
    t.match(await send({ ...body, clientId: 'r-2' }), { status: 422 })
    const masked = await alice.send(bob, { text: 'so bad' }, { clientId: 'r-3' })
    await list.put({ words: ['nothing'] })
    await inForce(w, 1)
    t.match(await send({ to, clientId: 'r-3', ...say('so bad') }), { body: { id: masked.id, duplicate: true } })
    t.match(await send({ to, clientId: 'r-3', ...say('so ***') }), { status: 409 })
  })

  await t.test('rooms have rules of their own; who may not write there is told so, and nothing else', async (t) => {
    const made = await w.http<{ id: string }>('POST', 'rooms', {
      token: alice.token,
      body: { name: 'Strict', visibility: 'private' },
    })
    const room = made.body.id
    await list.put({ words: ['bad'], rooms: { [room]: { action: 'reject', words: ['local'] } } })
    await inForce(w, 2)
    t.match(await send({ to: { room }, ...say('bad') }), { status: 422, body: { code: 'word_rejected' } })
    t.match(await send({ to: { room }, ...say('local') }), { status: 422 })
    t.match(await send({ to, ...say('local') }), { status: 202 })
    const body = { to: { room }, ...say('bad') }
    t.match(await w.http('POST', 'messages', { token: bob.token, body }), {
      status: 404,
      body: { code: 'conversation_not_found' },
    })
    await list.put({ words: ['bad'], rooms: { [room]: { off: true } } })
    await inForce(w, 1)
    const { body: sent } = await send({ to: { room }, ...say('bad') })
    const history = await w.http('GET', `conversations/room:${room}/messages`, { token: alice.token })
    t.match(history.body, { messages: [{ type: 'system' }, { id: sent.id, content: { text: 'bad' } }] })
  })

  await t.test('a list that is wrong is refused, and the one before stays', async (t) => {
    for (const [i, wrong] of ['{', '{"words":[7]}', '{"words":["\u200b"]}'].entries()) {
      await list.put(wrong)
      await until('both have refused it', async () => {
        const counts = ['api-1', 'connect-1'].map((name) => metric(w, name, 'tidings_words_refused_total'))
        return (await Promise.all(counts)).every((count) => count === i + 1)
      })
    }
    t.match(await send({ to, ...say('bad'), clientId: 'still' }), { status: 202 })
    const history = await w.http<{ messages: { content: object }[] }>('GET', `conversations/${dm}/messages?limit=200`, {
      token: alice.token,
    })
    t.same(history.body.messages.at(-1)!.content, { text: '***' })
  })

  await t.test('an operator changes the list over HTTP', async (t) => {
    const document = { words: ['one', 'two', { word: 'three', action: 'reject' }] }
    t.match(await operator(w, 'PUT', 'admin/words', document), { status: 200, body: { words: 3 } })
    await inForce(w, 3)
    t.equal(await list.get(), JSON.stringify(document))
    const wrong = await operator(w, 'PUT', 'admin/words', { words: ['one', '\u200b'] })
    t.match(wrong, { status: 400, body: { code: 'invalid_request', detail: /^words\[1\] has nothing/ } })
    const half = await operator(w, 'PUT', 'admin/words', { ignore: 'all', words: ['\udc00'] })
    t.match(half, { status: 400, body: { code: 'invalid_request' } }, 'half of a character')
    t.same((await operator(w, 'GET', 'admin/words')).body, document)
    t.equal((await operator(w, 'DELETE', 'admin/words')).status, 204)
    await inForce(w, 0)
    t.same((await operator(w, 'GET', 'admin/words')).body, { words: [] })
    await list.put(document)
    await inForce(w, 3)
  })

  await t.test('without a list everything passes', async (t) => {
    await list.remove()
    await inForce(w, 0)
    const { seq } = await alice.send(bob, { text: 'bad vile odd' })
    const history = await w.http('GET', `conversations/${dm}/messages?after=${seq - 1}`, { token: alice.token })
    t.match(history.body, { messages: [{ content: { text: 'bad vile odd' } }] })
  })
})

/** The texts of the next messages. */
async function texts(socket: { nextMessage(): Promise<{ content: unknown }> }, count: number): Promise<string[]> {
  const found: string[] = []
  while (found.length < count) found.push(((await socket.nextMessage()).content as { text: string }).text)
  return found
}

t.test('an etcd that lost its data gets the list back, which stayed in force', async (t) => {
  const etcd = await startEtcd()
  t.teardown(() => etcd.stop())
  const w = await world(t, { stores: { etcdUrl: etcd.url }, env: { TIDINGS_NODE_LEASE_S: '3' } })
  const [alice, bob] = [await w.user(), await w.user()]
  const socket = await bob.connect()
  const list = lists(t, w)
  await list.put({ words: ['bad'] })
  await inForce(w, 1)
  await etcd.kill()
  await alice.send(bob, { text: 'bad while etcd is away' })
  t.match(await socket.nextMessage(), { content: { text: '*** while etcd is away' } })
  await etcd.wipe()
  await etcd.restart()
  const after = connectEtcd([etcd.url])
  t.teardown(() => after.close())
  const key = createRegistryKeys(w.namespace).config('words')
  await until('it is there again', async () => (await after.get(key).string()) === '{"words":["bad"]}', 20_000)
  await alice.send(bob, { text: 'bad' })
  t.match(await socket.nextMessage(), { content: { text: '***' } })
})

t.test('an edit passes the list, too', async (t) => {
  const w = await world(t)
  const list = lists(t, w)
  const [alice, bob] = [await w.user(), await w.user()]
  await list.put({ words: ['bad', { word: 'vile', action: 'reject' }] })
  await inForce(w, 2)
  const { id, conversation } = await alice.send(bob, { text: 'fine' })
  const edit = (text: string) => w.http('PATCH', `messages/${id}`, { token: alice.token, body: say(text) })
  t.match(await edit('vile'), { status: 422, body: { code: 'word_rejected' } })
  t.match(await edit('so bad'), { status: 202, body: { seq: 2 } })
  const history = await w.http('GET', `conversations/${conversation}/messages?after=0`, { token: bob.token })
  t.match(history.body, {
    messages: [
      { seq: 1, content: { text: 'so ***' } },
      { seq: 2, content: { content: { text: 'so ***' } } },
    ],
  })
})
