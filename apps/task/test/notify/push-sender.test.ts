/** Pushes, to a push service of the test's own that opens them as a browser does. */
import { createHash, createPublicKey, verify } from 'node:crypto'
import { Agent, createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { createMetrics, type Stoppable, stageMetrics } from '@tidings/service'
import {
  type DuePush,
  insertDuePushes,
  pushSubscriptionsOf,
  putPushSubscription,
  setFlags,
  transaction,
} from '@tidings/store'
import t, { type Test } from 'tap'
import { createPost } from '../../src/notify/outgoing.js'
import type { Vapid } from '../../src/notify/push-request.js'
import { startPushSender } from '../../src/notify/push-sender.js'
import { log, until, type World, world } from '../world.js'
import { type Browser, createBrowser, vapidKeys } from './browser.js'
import { selfSigned } from './certificate.js'

const CONVERSATION = 'dm:alice:bob'
/** Of all push services here. */
const { key, cert } = selfSigned()

interface Received {
  path: string
  headers: Record<string, string | string[] | undefined>
  body: Buffer
}

interface Service {
  url: string
  agent: Agent
  received: Received[]
  /** Answers of the next requests; then 201. */
  answers: { status: number; headers?: Record<string, string> }[]
  /** It answers nothing. */
  silent: boolean
}

async function pushService(t: Test): Promise<Service> {
  const received: Received[] = []
  const answers: Service['answers'] = []
  const server = createServer({ key, cert }, (request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      received.push({ path: request.url!, headers: request.headers, body: Buffer.concat(chunks) })
      if (service.silent) return
      const { status, headers = {} } = answers.shift() ?? { status: 201 }
      response.writeHead(status, headers).end()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const agent = new Agent({ ca: cert })
  t.teardown(() => {
    agent.destroy()
    server.closeAllConnections()
    server.close()
  })
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`
  const service: Service = { url, agent, received, answers, silent: false }
  return service
}

/** The claims of a VAPID token, its signature checked with the key that stands beside it (RFC 8292). */
function claimsOf(authorization: string, publicKey: string): Record<string, unknown> {
  const [, token = '', shown = ''] = /^vapid t=([^,\s]+), k=(\S+)$/.exec(authorization) ?? []
  if (shown !== publicKey) throw new Error('another key')
  const raw = Buffer.from(publicKey, 'base64url')
  const key = createPublicKey({
    format: 'jwk',
    key: {
      kty: 'EC',
      crv: 'P-256',
      x: raw.subarray(1, 33).toString('base64url'),
      y: raw.subarray(33).toString('base64url'),
    },
  })
  const [header, claims, signature] = token.split('.') as [string, string, string]
  const signed = Buffer.from(`${header}.${claims}`)
  const isOurs = verify('sha256', signed, { key, dsaEncoding: 'ieee-p1363' }, Buffer.from(signature, 'base64url'))
  if (!isOurs) throw new Error('the signature is wrong')
  return JSON.parse(Buffer.from(claims, 'base64url').toString()) as Record<string, unknown>
}

interface Stage {
  w: World
  service: Service
  vapid: Vapid
  device: Browser
  /** Notes that bob's phone is due a push of this entry. */
  note(seq: number, over?: Partial<DuePush>, dueInMs?: number): Promise<void>
  /** Another device of bob's, at another push service. */
  subscribe(name: string, at: Service): Promise<void>
  due(): Promise<{ seq: string; tries: number; due_at: Date }[]>
  start(afterMs?: number): Stoppable
}

async function stage(t: Test): Promise<Stage> {
  const w = await world(t)
  const service = await pushService(t)
  const vapid = { ...vapidKeys(), subject: 'mailto:test@example.com' }
  const device = createBrowser()
  for (const id of ['alice', 'bob'])
    await w.store.use((db) =>
      db.run('INSERT INTO users (id, display_name, created_at) VALUES (?)', [[id, `${id}'s name`, new Date()]]),
    )
  async function subscribe(name: string, at: Service): Promise<void> {
    const endpoint = `${at.url}/send/bob-${name}`
    const row = { user: 'bob', device: name, endpoint, p256dh: device.p256dh, auth: device.auth, createdAt: new Date() }
    const endpointHash = createHash('sha256').update(endpoint).digest('hex')
    await putPushSubscription(w.store, { ...row, endpointHash }, 20)
  }
  await subscribe('phone', service)
  return {
    ...{ w, service, vapid, device, subscribe },
    note: (seq, over = {}, dueInMs = -1) =>
      transaction(w.store, (db) =>
        insertDuePushes(
          db,
          [
            {
              ...{ user: 'bob', device: 'phone', conversation: CONVERSATION, seq, id: String(seq), from: 'alice' },
              ...{ preview: '', expiresAt: null, urgent: false, createdAt: new Date(), ...over },
            },
          ],
          new Date(Date.now() + dueInMs),
        ),
      ),
    due: () => w.store.use((db) => db.select('SELECT seq, tries, due_at FROM push_due')),
    start(afterMs = 10_000) {
      const metrics = stageMetrics(createMetrics('task', 'test'), 'web_push')
      // Longer than any test: what does not answer is waited for.
      const post = createPost({ http: undefined, https: service.agent }, 60_000)
      const { store, redis, keys } = w
      const sender = startPushSender({
        store,
        redis,
        keys,
        post,
        cut: () => service.agent.destroy(),
        vapid,
        afterMs,
        metrics,
        log,
        lookEveryMs: 20,
      })
      t.teardown(() => sender.stop())
      return sender
    },
  }
}

t.test('a push is sealed for the device, signed as ours, and says who wrote and where', async (t) => {
  const { w, service, vapid, device, note, due, start } = await stage(t)
  await note(7)
  await note(9)
  await note(8)
  start()
  await until('it is done', async () => (await due()).length === 0)
  t.equal(service.received.length, 1, 'one for the conversation, however many came')
  const [{ path, headers, body }] = service.received as [Received]
  t.equal(path, '/send/bob-phone')
  t.match(headers, { ttl: '86400', urgency: 'normal', 'content-encoding': 'aes128gcm' })
  t.match(headers.topic, /^[A-Za-z0-9_-]{32}$/)
  t.same(device.open(body), { conversation: CONVERSATION, seq: 9, id: '9', from: 'alice', title: "alice's name" })
  const claims = claimsOf(String(headers.authorization), vapid.publicKey)
  t.match(claims, { aud: service.url, sub: 'mailto:test@example.com' })
  const left = Number(claims.exp) - Date.now() / 1_000
  t.ok(left > 0 && left <= 86_400, 'for a day at most')

  await note(10, { preview: 'hello' })
  await until('the next one', () => service.received.length === 2)
  t.match(device.open(service.received[1]!.body), { seq: 10, text: 'hello' })
  t.equal(service.received[1]!.headers.topic, headers.topic)
  t.equal((await pushSubscriptionsOf(w.store, 'bob')).length, 1)
})

t.test('nobody is pushed what has expired, and a push service keeps nothing for longer', async (t) => {
  const { service, note, due, start } = await stage(t)
  await note(1, { conversation: 'feed:bob', expiresAt: Date.now() - 1 })
  await note(2, { conversation: 'dm:bob:carol', expiresAt: Date.now() + 60_000, urgent: true })
  start()
  await until('both are done', async () => (await due()).length === 0)
  t.equal(service.received.length, 1)
  const { ttl, urgency } = service.received[0]!.headers
  t.ok(Number(ttl) > 0 && Number(ttl) <= 60, `for what is left of its time: ${ttl} s`)
  t.equal(urgency, 'high')
})

t.test('one that is forgotten soon takes no earlier one with it, nor its priority', async (t) => {
  const { w, service, device, note, due, start } = await stage(t)
  const soon = Date.now() + 1
  const [apart, together] = ['dm:bob:dora', 'dm:bob:erin'] as const
  await note(5, { conversation: apart, urgent: true })
  await note(6, { conversation: apart, expiresAt: soon })
  const row = { user: 'bob', device: 'phone', from: 'alice', preview: '', urgent: false, createdAt: new Date() }
  await transaction(w.store, (db) =>
    insertDuePushes(
      db,
      [
        { ...row, conversation: together, seq: 5, id: '5', expiresAt: null, urgent: true },
        { ...row, conversation: together, seq: 6, id: '6', expiresAt: soon },
      ],
      new Date(),
    ),
  )
  await note(5, { expiresAt: soon - 1 })
  await note(6, { expiresAt: soon })
  await until('the time of the short ones is over', () => Date.now() > soon)
  start()
  await until('all are done', async () => (await due()).length === 0)
  const told = service.received.map(({ body, headers }) => ({
    ...(device.open(body) as { conversation: string }),
    ...headers,
  }))
  t.same(told.map(({ conversation }) => conversation).sort(), [apart, together])
  t.match(told, [{ urgency: 'high' }, { urgency: 'high' }])
})

t.test('who has it, has read it, has muted it, or is not in the room any more, is not pushed to', async (t) => {
  const { w, service, note, due, start } = await stage(t)
  const { redis, keys } = w
  const [acked, read, room] = ['dm:bob:carol', 'dm:bob:dora', 'room:0123456789abcdef'] as const
  await redis.hset(keys.cursor('bob', 'phone'), acked, 5)
  await redis.hset(keys.cursor('bob', 'laptop'), CONVERSATION, 5)
  await redis.hset(keys.read(read), 'bob', '5:5')
  const [silent, loud] = ['dm:bob:erin', 'dm:bob:frank'] as const
  const now = new Date()
  await setFlags(w.store, 'bob', silent, { mutedUntil: now.getTime() + 60_000 }, now)
  await setFlags(w.store, 'bob', loud, { mutedUntil: now.getTime() - 1, pinned: true }, now)
  for (const conversation of [acked, read, room, silent, loud]) await note(5, { conversation })
  await note(5)
  start()
  await until('all are done', async () => (await due()).length === 0)
  t.equal(service.received.length, 2, 'only where another device has it, and where the muting is over')
})

t.test('410 and 404 end the subscription; 429 is repeated when the service says', async (t) => {
  const { w, service, note, due, start } = await stage(t)
  service.answers.push({ status: 429, headers: { 'retry-after': '3600' } })
  start()
  await note(1)
  await until('it was asked', async () => (await due())[0]?.tries === 1)
  const [waiting] = await due()
  t.ok(waiting!.due_at.getTime() > Date.now() + 3_000_000, 'in an hour')
  t.equal((await pushSubscriptionsOf(w.store, 'bob')).length, 1)

  service.answers.push({ status: 410 })
  await w.store.use((db) => db.run('UPDATE push_due SET due_at = ?', [new Date()]))
  await until('it is gone', async () => (await pushSubscriptionsOf(w.store, 'bob')).length === 0)
  await until('and nothing is due', async () => (await due()).length === 0)
  await note(2)
  await until('what comes later is dropped', async () => (await due()).length === 0)
  t.equal(service.received.length, 2)
})

t.test('what comes while another one waits for its retry joins it', async (t) => {
  const { service, note, due, start } = await stage(t)
  start(3_600_000)
  service.answers.push({ status: 503 })
  await note(1)
  await until('it failed once', async () => (await due())[0]?.tries === 1)
  await note(2)
  await until('still one row, of the newer', async () => (await due())[0]?.seq === '2')
  t.equal((await due()).length, 1)
})

t.test('a push service that does not answer holds up nobody but the devices that use it', async (t) => {
  const { w, service, note, subscribe, start } = await stage(t)
  const slow = await pushService(t)
  slow.silent = true
  await subscribe('laptop', slow)
  const many = Array.from({ length: 300 }, (_, i) => `dm:bob:u${i}`)
  for (const conversation of many) await note(1, { conversation, device: 'laptop' }, -60_000)
  start()
  await until('it is asked', () => slow.received.length > 0)
  // Due later than all of the other's, and before any of those has ended.
  await note(1)
  await until('the other is told', () => service.received.length === 1)
  t.ok(slow.received.length <= 128, `${slow.received.length} requests wait for the one that is silent`)
  const [failed] = await w.store.use((db) =>
    db.select<{ n: string }>('SELECT COUNT(*) AS n FROM push_due WHERE tries > 0'),
  )
  t.equal(Number(failed!.n), 0, 'what waits for its turn was not tried')
})
