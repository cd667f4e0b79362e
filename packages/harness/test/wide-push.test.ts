/** Web Push to large rooms and to everyone: who gets it and who does not, however many there are, and when a worker dies in the midst. */
import { vapidKeys } from '@tidings/task/test/browser'
import t from 'tap'
import { type TestUser, until, type World, type WorldOptions, world } from '../src/index.js'
import { type PushService, pushService } from './push-service.js'
import { PUSH, push } from './pushing.js'

const vapid = vapidKeys()
const ENV = {
  TIDINGS_TASK_GROUPS: 'push,persist,notify',
  TIDINGS_VAPID_PUBLIC_KEY: vapid.publicKey,
  TIDINGS_VAPID_PRIVATE_KEY: vapid.privateKey,
  TIDINGS_WEB_PUSH_AFTER_S: '1',
  TIDINGS_HOOKS_ALLOW_PRIVATE: 'on',
  TIDINGS_SERVICE_TOKENS: `shop:push:${PUSH}`,
}
const MEMBERS = 1_500
/** In a page. */
const PEOPLE = 200

const open = (t: Parameters<typeof world>[0], over: WorldOptions = {}): Promise<World> =>
  world(t, { ...over, env: { ...ENV, ...over.env } })

async function people(w: World, count: number): Promise<string[]> {
  const names = Array.from({ length: count }, (_, i) => `p${String(i).padStart(4, '0')}`)
  const rows = names.map((id) => [id, id, new Date()])
  await w.store.use((db) => db.run('INSERT INTO users (id, display_name, created_at) VALUES ?', [rows]))
  return names
}

/** A room of the owner with all of these in it. */
async function largeRoom(w: World, owner: TestUser, members: readonly string[]): Promise<string> {
  const made = await w.http<{ id: string }>('POST', 'rooms', { token: owner.token, body: { name: 'Everybody' } })
  for (let at = 0; at < members.length; at += 200) {
    const users = members.slice(at, at + 200)
    const added = await w.http('POST', `rooms/${made.body.id}/members`, { token: owner.token, body: { users } })
    if (added.status >= 300) throw new Error(`adding: ${added.status} ${added.text}`)
  }
  return made.body.id
}

interface Sent {
  id: string
  seq: number
  conversation: string
}
async function say(w: World, from: TestUser, room: string, text: string): Promise<Sent> {
  const reply = await w.http<Sent & Record<string, unknown>>('POST', 'messages', {
    token: from.token,
    body: { to: { room }, content: { text } },
  })
  if (reply.status !== 202) throw new Error(`sending: ${reply.status} ${reply.text}`)
  return reply.body
}

/** Workers read new subscriptions within a second or two: until somebody of them is pushed to. */
async function known(w: World, service: PushService, sender: TestUser, user: string): Promise<void> {
  await until('subscriptions are known', async () => {
    await sender.send(user)
    return service.pushed.some(({ device }) => device === `${user}/phone`)
  })
  await idle(w)
}
/** Nothing is due to a device or a room. */
async function idle(w: World): Promise<void> {
  const left = async (table: string): Promise<number> => {
    const sql = `SELECT COUNT(*) AS n FROM ${table} WHERE due_at IS NOT NULL`
    return Number((await w.store.use((db) => db.select<{ n: string }>(sql)))[0]!.n)
  }
  await until('nothing is due', async () => (await left('push_due')) + (await left('push_passes')) === 0, 30_000)
}
/** The devices that were told of an entry of a conversation, and of which. */
const toldOf = (service: PushService, conversation: string): [device: string, seq: number][] =>
  service.pushed
    .filter(({ payload }) => payload.conversation === conversation)
    .map(({ device, payload }): [string, number] => [device, payload.seq])
    .sort()

t.test('a message in a room of 1,500 reaches the devices that did not acknowledge it, and no others', async (t) => {
  const [w, service] = [await open(t), await pushService(t)]
  const [alice, bob] = [await w.user('alice'), await w.user('bob')]
  const [reader, sleeper] = [await w.user('reader'), await w.user('sleeper')]
  const others = ['eve', 'gone', 'canary']
  for (const name of others) await w.user(name)
  const many = await people(w, MEMBERS)
  const away = many.filter((_, i) => i % 50 === 0)
  await service.subscribe(w, [...away, ...others, 'alice', 'bob', 'reader', 'sleeper'])
  await service.subscribe(w, ['bob'], 'laptop')
  const room = await largeRoom(w, alice, [...many, 'bob', 'gone', 'reader', 'sleeper'])
  const conversation = `room:${room}`
  await known(w, service, alice, 'canary')
  t.equal((await w.http('DELETE', `rooms/${room}/members/gone`, { token: alice.token })).status, 204)
  const mute = await w.http('PATCH', `conversations/${conversation}`, { token: sleeper.token, body: { muted: true } })
  t.equal(mute.status, 200)
  const phone = await bob.connect({ device: 'phone' })

  const { seq } = await say(w, alice, room, 'all hands')
  await phone.until('it is there', () => phone.messages(conversation).some((one) => (one as Sent).seq === seq))
  phone.ack(conversation, seq)
  const read = await w.http('POST', `conversations/${conversation}/read`, { token: reader.token, body: { seq } })
  t.equal(read.status, 204)
  await until('it is noted', async () => (await passes(w)).length === 1)
  const rows = await w.store.use((db) =>
    db.select<{ n: string }>('SELECT COUNT(*) AS n FROM push_due WHERE conversation = ?', [conversation]),
  )
  t.equal(Number(rows[0]!.n), 0, 'no row for a member')
  await idle(w)
  t.same(
    toldOf(service, conversation),
    [...away.map((user) => `${user}/phone`), 'bob/laptop'].sort().map((device) => [device, seq]),
    'not the sender, who acknowledged, has read or muted it, who was removed, nor who was never in it',
  )
  const told = service.pushed.filter(({ payload }) => payload.conversation === conversation)
  t.ok(
    told.every(
      ({ payload }) => payload.title === 'Everybody' && payload.from === 'alice' && payload.text === undefined,
    ),
  )
  t.equal(new Set(told.map(({ headers }) => headers.topic)).size, 1)

  const recalled = await say(w, alice, room, 'oops')
  t.equal((await w.http('DELETE', `messages/${recalled.id}`, { token: alice.token })).status, 202)
  await until('it is noted', async () => Number((await passes(w))[0]?.seq) >= recalled.seq)
  await idle(w)
  t.equal(toldOf(service, conversation).length, away.length + 1, 'nobody is told of what was taken back')
})

const passes = (w: World) =>
  w.store.use((db) => db.select<{ conversation: string; seq: string; after_user: string }>('SELECT * FROM push_passes'))

t.test('what is pushed to everyone reaches everyone’s devices, with its time and its priority', async (t) => {
  const [w, service] = [await open(t), await pushService(t)]
  const [alice, bob, canary] = [await w.user('alice'), await w.user('bob'), await w.user('canary')]
  const many = await people(w, 30)
  await service.subscribe(w, [...many, 'bob', 'canary'])
  await known(w, service, alice, canary.name)
  const phone = await bob.connect({ device: 'phone' })
  const one = await push(w, { all: true }, 'news', { priority: 'high', ttl: 600 })
  const { seq } = one.message!
  await phone.until('it is there', () => phone.messages('feed:*').length === 1)
  phone.ack('feed:*', seq)
  await until('it is noted', async () => (await passes(w)).length === 1)
  // Somebody who comes after it is not shown it, so is not told of it.
  const late = await w.user('late')
  await service.subscribe(w, [late.name])
  await idle(w)
  t.same(
    toldOf(service, 'feed:*'),
    [...many, 'canary'].sort().map((user) => [`${user}/phone`, seq]),
  )
  const told = service.pushed.filter(({ payload }) => payload.conversation === 'feed:*')
  t.ok(told.every(({ headers }) => headers.urgency === 'high' && Number(headers.ttl) <= 600 && Number(headers.ttl) > 0))

  const before = service.pushed.length
  const short = await push(w, { all: true }, 'for a moment', { ttl: 1 })
  await until('it is noted', async () => Number((await passes(w))[0]?.seq) >= short.message!.seq)
  await idle(w)
  t.equal(service.pushed.length, before, 'nobody hears of it after its time')
  await push(w, { all: true }, '1:0', { collapseKey: 'match' })
  const last = await push(w, { all: true }, '2:0', { collapseKey: 'match' })
  await idle(w)
  await until('told of the newer', () => toldOf(service, 'feed:*').some(([, n]) => n === last.message!.seq))
})

t.test('what a push service does not take is tried again for that device alone', async (t) => {
  const [w, service] = [await open(t, { count: { connect: 0 } }), await pushService(t)]
  const [alice, canary] = [await w.user('alice'), await w.user('canary')]
  const many = await people(w, 3)
  await service.subscribe(w, [...many, 'canary'])
  await known(w, service, alice, canary.name)
  service.answer = (device, nth) => (device === 'p0001/phone' && nth === 1 ? 503 : device === 'p0002/phone' ? 410 : 201)
  await push(w, { all: true }, 'news')
  await until('again', () => service.times().get('p0001/phone') === 2)
  await idle(w)
  t.same(
    ['p0000', 'p0001', 'p0002'].map((user) => service.times().get(`${user}/phone`)),
    [1, 2, 1],
  )
  const left = await w.store.use((db) =>
    db.select<{ user: string }>("SELECT user FROM push_subscriptions WHERE user = 'p0002'"),
  )
  t.same(left, [], 'what is gone is forgotten')
})

t.test('a worker that is killed in the midst costs nobody the push, and a page of people a second one', async (t) => {
  const [w, service] = [await open(t, { processes: true, count: { task: 1, connect: 0 } }), await pushService(t)]
  const [alice, canary] = [await w.user('alice'), await w.user('canary')]
  const many = await people(w, 3 * PEOPLE + 50)
  await service.subscribe(w, [...many, 'canary'])
  await known(w, service, alice, canary.name)
  // In the midst of the third page nothing is answered any more.
  const all = many.map((user) => `${user}/phone`)
  service.answer = (device) => (device >= all[2 * PEOPLE + 30]! && device < 'q' ? undefined : 201)
  await push(w, { all: true }, 'news')
  const told = () => all.filter((device) => service.times().has(device))
  await until('the third page', () => told().length > 2 * PEOPLE + 40, 30_000)
  // Another person's message waits for no pass.
  const { seq } = await alice.send(canary.name)
  await until('a direct message', () => toldOf(service, 'dm:alice:canary').some(([, n]) => n === seq), 30_000)
  service.answer = () => 201
  await w.processes.get('task-1')!.kill('SIGKILL')
  const direct = service.times().size
  t.ok(direct < all.length, 'not all were told')
  await w.start('task')
  await until('all are told', () => told().length === all.length, 60_000)
  await idle(w)
  const times = service.times()
  t.ok(all.every((device) => times.get(device)! <= 2))
  const twice = all.filter((device) => times.get(device) === 2)
  t.ok(twice.length > 0 && twice.length <= PEOPLE, `${twice.length} twice`)
  t.ok(
    twice.every((device) => device >= all[2 * PEOPLE - 1]!),
    'those of the page alone',
  )
})
