/** Web Push to large rooms and to everyone: who gets it and who does not, however many there are, and when a worker dies in the midst. */
import { vapidKeys } from '@tidings/task/test/browser'
import t from 'tap'
import { type Stop, type TestUser, until, type World, type WorldOptions, world } from '../src/index.js'
import { type PushService, pushService } from './push-service.js'
import { PUSH, push } from './pushing.js'

const vapid = vapidKeys()
const ENV = {
  // The worker that tells the outside is started by the tests: what is to be a fact before it looks is one before it starts.
  TIDINGS_TASK_GROUPS: 'push,persist',
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

/** A worker that pushes, and knows all subscriptions there are. */
const startPushing = (w: World): Promise<Stop> => w.start('task', { TIDINGS_TASK_GROUPS: 'notify' })

/** The device has acknowledged so much. */
async function acknowledged(w: World, user: string, device: string, conversation: string, seq: number): Promise<void> {
  await until('it is acknowledged', async () => {
    return Number(await w.redis.hget(w.keys.cursor(user, device), conversation)) >= seq
  })
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
  const others = ['eve', 'gone']
  for (const name of others) await w.user(name)
  const many = await people(w, MEMBERS)
  const away = many.filter((_, i) => i % 50 === 0)
  await service.subscribe(w, [...away, ...others, 'alice', 'bob', 'reader', 'sleeper'])
  await service.subscribe(w, ['bob'], 'laptop')
  const room = await largeRoom(w, alice, [...many, 'bob', 'gone', 'reader', 'sleeper'])
  const conversation = `room:${room}`
  t.equal((await w.http('DELETE', `rooms/${room}/members/gone`, { token: alice.token })).status, 204)
  const mute = await w.http('PATCH', `conversations/${conversation}`, { token: sleeper.token, body: { muted: true } })
  t.equal(mute.status, 200)
  const phone = await bob.connect({ device: 'phone' })

  const { seq } = await say(w, alice, room, 'all hands')
  await phone.until('it is there', () => phone.messages(conversation).some((one) => (one as Sent).seq === seq))
  phone.ack(conversation, seq)
  await acknowledged(w, 'bob', 'phone', conversation, seq)
  const read = await w.http('POST', `conversations/${conversation}/read`, { token: reader.token, body: { seq } })
  t.equal(read.status, 204)
  const stopPushing = await startPushing(w)
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

  await stopPushing()
  const recalled = await say(w, alice, room, 'oops')
  t.equal((await w.http('DELETE', `messages/${recalled.id}`, { token: alice.token })).status, 202)
  await startPushing(w)
  await until('it is noted', async () => Number((await passes(w))[0]?.seq) >= recalled.seq)
  await idle(w)
  t.equal(toldOf(service, conversation).length, away.length + 1, 'nobody is told of what was taken back')
})

const passes = (w: World) =>
  w.store.use((db) =>
    db.select<{ conversation: string; seq: string; due_at: Date | null }>('SELECT * FROM push_passes'),
  )

t.test('what is pushed to everyone reaches everyone’s devices, with its time and its priority', async (t) => {
  const [w, service] = [await open(t), await pushService(t)]
  const bob = await w.user('bob')
  const many = await people(w, 30)
  await service.subscribe(w, [...many, 'bob'])
  const phone = await bob.connect({ device: 'phone' })
  const one = await push(w, { all: true }, 'news', { priority: 'high', ttl: 600 })
  const { seq } = one.message!
  await phone.until('it is there', () => phone.messages('feed:*').length === 1)
  phone.ack('feed:*', seq)
  await acknowledged(w, 'bob', 'phone', 'feed:*', seq)
  // Somebody who comes after it is not shown it, so is not told of it.
  const late = await w.user('late')
  await service.subscribe(w, [late.name])
  await startPushing(w)
  await until('it is noted', async () => (await passes(w)).length === 1)
  await idle(w)
  t.same(
    toldOf(service, 'feed:*'),
    many.map((user) => [`${user}/phone`, seq]),
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
  const many = await people(w, 3)
  await service.subscribe(w, many)
  service.answer = (device, nth) => (device === 'p0001/phone' && nth === 1 ? 503 : device === 'p0002/phone' ? 410 : 201)
  await startPushing(w)
  await push(w, { all: true }, 'news')
  await until('again', () => service.times().get('p0001/phone') === 2)
  await idle(w)
  t.same(
    many.map((user) => service.times().get(`${user}/phone`)),
    [1, 2, 1],
  )
  const left = await w.store.use((db) =>
    db.select<{ user: string }>("SELECT user FROM push_subscriptions WHERE user = 'p0002'"),
  )
  t.same(left, [], 'what is gone is forgotten')
})

t.test('a direct message is told of while a pass waits for its push service', async (t) => {
  const [w, service] = [await open(t, { count: { connect: 0 } }), await pushService(t)]
  const [alice, bob] = [await w.user('alice'), await w.user('bob')]
  await service.subscribe(w, [...(await people(w, 3)), 'bob'])
  await startPushing(w)
  // A page waits for 5 s at most: where all else took longer, that says nothing, and there is another one.
  const isToldMeanwhile = async (): Promise<boolean> => {
    service.answer = (device) => (device === 'bob/phone' ? 201 : undefined)
    const { seq } = (await push(w, { all: true }, 'news')).message!
    await until('the pass waits', () => toldOf(service, 'feed:*').some(([device, n]) => device > 'p' && n === seq))
    const direct = await alice.send(bob)
    await until('told', () => toldOf(service, direct.conversation).some(([, n]) => n === direct.seq))
    const waits = (await passes(w)).some(({ due_at: at }) => at !== null)
    service.answer = () => 201
    service.release()
    await idle(w)
    return waits
  }
  let meanwhile = false
  for (let passed = 0; passed < 10 && !meanwhile; passed++) meanwhile = await isToldMeanwhile()
  t.ok(meanwhile, 'a direct message is told of while a pass waits')
})

t.test('a worker that is killed in the midst costs nobody the push, and a page of people a second one', async (t) => {
  const [w, service] = [await open(t, { processes: true, count: { connect: 0 } }), await pushService(t)]
  const many = await people(w, 3 * PEOPLE + 50)
  await service.subscribe(w, many)
  await startPushing(w)
  const all = many.map((user) => `${user}/phone`)
  const told = () => all.filter((device) => service.times().has(device))
  let killed: Promise<void> | undefined
  let toldBefore = 0
  service.answer = (device) => {
    // In the midst of the third page.
    if (killed || device < all[2 * PEOPLE + 40]!) return 201
    toldBefore = told().length
    killed = w.processes.get('task-2')!.kill('SIGKILL')
    return undefined
  }
  await push(w, { all: true }, 'news')
  await until('it is killed', () => killed !== undefined)
  await killed
  t.ok(toldBefore > 2 * PEOPLE && toldBefore < all.length, `${toldBefore} were told`)
  await startPushing(w)
  await until('all are told', () => told().length === all.length, 60_000)
  await idle(w)
  const times = service.times()
  t.ok(all.every((device) => times.get(device)! <= 2))
  const twice = all.flatMap((device, i) => (times.get(device) === 2 ? [i] : []))
  t.ok(twice.length > 0, `${twice.length} twice`)
  t.ok(twice.at(-1)! - twice[0]! < PEOPLE, 'those of a page alone')
})
