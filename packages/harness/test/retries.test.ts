/** Contract, promise 1 and 3: who repeats a send with its clientId gets the first answer, whatever has changed since. */
import { startRedis } from '@tidings/infra'
import t from 'tap'
import { type TestClient, type TestUser, until, type World, world } from '../src/index.js'
import { inForce, lists } from './word-lists.js'

interface Sent {
  id?: string
  duplicate?: boolean
  code?: string
}

t.test('a file that was forwarded and then deleted by its owner', async (t) => {
  const w = await world(t)
  const [alice, bob, carol] = [await w.user(), await w.user(), await w.user()]
  const headers = { authorization: `Bearer ${alice.token}`, 'content-type': 'text/plain', 'x-file-name': 'plan.txt' }
  const uploaded = await fetch(`${w.apis[0]}/api/v1/files`, { method: 'POST', headers, body: 'the plan' })
  const { file } = (await uploaded.json()) as { file: Record<string, unknown> }
  const { url, size, mediaType, name } = file
  const send = (from: TestUser, to: TestUser, clientId: string) => {
    const body = { to: { user: to.name }, type: 'file', content: { url, size, mediaType, name }, clientId }
    return w.http<Sent>('POST', 'messages', { token: from.token, body })
  }
  t.equal((await send(alice, bob, 'c-1')).status, 202)
  const first = await send(bob, carol, 'c-2')
  t.equal(first.status, 202)
  const gone = await w.http('DELETE', String(url).replace('/api/v1/', ''), { token: alice.token })
  t.equal(gone.status, 204)
  t.match(await send(bob, carol, 'c-3'), { status: 404, body: { code: 'file_not_found' } }, 'not any more')
  t.match(await send(bob, carol, 'c-2'), { status: 202, body: { id: first.body.id, duplicate: true } }, 'but it was')
})

let keys = 0
const newKey = (): string => `new-${++keys}`
const textOf = (text: string) => ({ content: { text } })

/** Of one send, on each way in. */
async function everyWay(w: World, from: TestUser, socket: TestClient, body: { to: object; clientId: string }) {
  const one = await w.http<Sent>('POST', 'messages', { token: from.token, body })
  const many = await w.http<{ results: Sent[] }>('POST', 'messages/batch', {
    token: from.token,
    body: { messages: [body] },
  })
  const before = socket.frames.length
  socket.send({ op: 'send', ...body })
  const isAnswer = ({ op }: { op: string }): boolean => op === 'sent' || op === 'error'
  await socket.until('the answer', () => socket.frames.slice(before).some(isAnswer))
  return [one.body, many.body.results[0], socket.frames.slice(before).find(isAnswer)] as Sent[]
}

t.test('who was blocked since gets the first answer on every way in, and nothing else', async (t) => {
  const w = await world(t)
  const [alice, bob, eve] = [await w.user(), await w.user(), await w.user()]
  const socket = await alice.connect()
  const to = { user: bob.name }
  const { id, seq, sentAt, conversation } = await alice.send(bob, { text: 'hello' }, { clientId: 'c-1' })
  t.equal((await w.http('PUT', `blocks/${alice.name}`, { token: bob.token })).status, 204)
  t.equal((await w.http('PUT', `blocks/${eve.name}`, { token: bob.token })).status, 204)
  await until('she cannot write any more', async () => {
    const answers = await everyWay(w, alice, socket, { to, clientId: newKey(), ...textOf('hello') })
    return answers.every(({ code }) => code === 'blocked')
  })
  const head = await w.redis.get(w.keys.seq(conversation))
  for (const answer of await everyWay(w, alice, socket, { to, clientId: 'c-1', ...textOf('hello') })) {
    t.match(answer, { id, seq, sentAt, conversation, duplicate: true })
  }
  for (const answer of await everyWay(w, alice, socket, { to, clientId: 'c-1', ...textOf('other') })) {
    t.match(answer, { code: 'idempotency_conflict' }, 'as from anybody')
  }
  const eves = await eve.connect()
  for (const text of ['hello', 'other']) {
    const answers = await everyWay(w, eve, eves, { to, clientId: 'c-1', ...textOf(text) })
    for (const answer of answers) t.match(answer, { code: 'blocked' }, 'a key of somebody else tells nothing')
  }
  t.equal(await w.redis.get(w.keys.seq(conversation)), head, 'nothing was written')
})

t.test(
  'who was removed, banned or muted since gets the first answer; who never was in the room learns nothing',
  async (t) => {
    const w = await world(t)
    const [owner, bob, carol, dan, eve] = await Promise.all(Array.from({ length: 5 }, () => w.user()))
    const made = await w.http<{ id: string; conversation: string }>('POST', 'rooms', {
      token: owner!.token,
      body: { name: 'Team', visibility: 'private', members: [bob!.name, carol!.name, dan!.name] },
    })
    const { id: room, conversation } = made.body
    const to = { room }
    const first = new Map<TestUser, Sent>()
    for (const one of [bob!, carol!, dan!]) {
      const body = { to, clientId: 'c-1', ...textOf('hello') }
      first.set(one, (await w.http<Sent>('POST', 'messages', { token: one.token, body })).body)
    }
    const head = async () => Number(await w.redis.get(w.keys.seq(conversation)))
    const put = (path: string, body: object = {}) =>
      w.http('PUT', `rooms/${room}/${path}`, { token: owner!.token, body })
    t.equal((await w.http('DELETE', `rooms/${room}/members/${bob!.name}`, { token: owner!.token })).status < 300, true)
    t.ok((await put(`bans/${carol!.name}`)).status < 300)
    t.ok((await put(`members/${dan!.name}`, { mutedUntil: Date.now() + 600_000 })).status < 300)
    for (const [user, code] of [
      [bob!, 'conversation_not_found'],
      [carol!, 'conversation_not_found'],
      [dan!, 'muted'],
    ] as const) {
      const socket = await user.connect()
      await until('may not write any more', async () => {
        const answers = await everyWay(w, user, socket, { to, clientId: newKey(), ...textOf('hello') })
        return answers.every((answer) => answer.code === code)
      })
      const before = await head()
      const { id } = first.get(user)!
      for (const answer of await everyWay(w, user, socket, { to, clientId: 'c-1', ...textOf('hello') })) {
        t.match(answer, { id, conversation, duplicate: true })
      }
      for (const answer of await everyWay(w, user, socket, { to, clientId: 'c-1', ...textOf('other') })) {
        t.match(answer, { code: 'idempotency_conflict' })
      }
      t.equal(await head(), before)
    }
    const eves = await eve!.connect()
    const known = await everyWay(w, eve!, eves, { to, clientId: 'c-1', ...textOf('hello') })
    const none = await everyWay(w, eve!, eves, { to: { room: 'x'.repeat(16) }, clientId: 'c-1', ...textOf('hello') })
    for (const answer of [...known, ...none]) t.match(answer, { code: 'conversation_not_found' })
    const [seen, unseen] = [known[0], none[0]].map((answer) => ({ ...answer, requestId: '', instance: '' }))
    t.same(seen, unseen, 'a room that is there looks like one that is not')
    const recent = await w.redis.zscore(
      w.keys.recent(w.keys.partitionOf(`room:${'x'.repeat(16)}`)),
      `room:${'x'.repeat(16)}`,
    )
    t.equal(recent, null, 'and what was made up is noted nowhere')
  },
)

t.test(
  'over a Redis that forgot all, what was masked is known of a blocked sender, and no conversation is made up',
  async (t) => {
    const redis = await startRedis()
    t.teardown(() => redis.stop())
    const w = await world(t, { stores: { redisUrl: redis.url } })
    const [alice, bob, eve] = [await w.user(), await w.user(), await w.user()]
    await lists(t, w).put({ words: ['bad'] })
    await inForce(w, 1)
    const send = (from: TestUser, clientId: string, text: string) =>
      w.http<Sent>('POST', 'messages', {
        token: from.token,
        body: { to: { user: bob.name }, clientId, ...textOf(text) },
      })
    const body = { to: { user: bob.name }, clientId: 'c-1', wait: 'persisted', ...textOf('so bad') }
    const first = await w.http<Sent & { reached: string }>('POST', 'messages', { token: alice.token, body })
    t.match(first, { status: 202, body: { reached: 'persisted' } })
    for (const one of [alice, eve])
      t.equal((await w.http('PUT', `blocks/${one.name}`, { token: bob.token })).status, 204)
    await until('she cannot write any more', async () => (await send(alice, newKey(), 'x')).body.code === 'blocked')
    await w.redis.flushall()
    t.match(await send(alice, 'c-1', 'so bad'), { status: 202, body: { id: first.body.id, duplicate: true } })
    t.match(await send(alice, 'c-1', 'so sad'), { status: 409 })
    t.match(await send(alice, 'c-2', 'so bad'), { status: 403, body: { code: 'blocked' } })
    t.match(await send(eve, 'c-1', 'so bad'), { status: 403, body: { code: 'blocked' } })
    const made = `dm:${[bob.name, eve.name].toSorted().join(':')}`
    t.equal(await w.redis.exists(w.keys.seq(made), w.keys.log(made)), 0)
    t.same(await w.redis.smembers(w.keys.conversations(eve.name)), [])
  },
)
