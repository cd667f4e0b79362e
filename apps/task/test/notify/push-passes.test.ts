/** Passes over people, where a push service is left alone and no more devices may wait. The push services are functions here. */
import { createHash } from 'node:crypto'
import { notePasses, putPushSubscription, transaction } from '@tidings/store'
import t, { type Test } from 'tap'
import { createPushHosts } from '../../src/notify/push-hosts.js'
import { startPushPasses } from '../../src/notify/push-passes.js'
import { log, until, world } from '../world.js'
import { createBrowser, vapidKeys } from './browser.js'

const EVERYONE = 'feed:*'
const HOUR_MS = 3_600_000
/** Longer than any test: what is due before that is not lent. */
const CLAIM_MS = HOUR_MS
const HELD_MS = 10_000
const [WELL, ILL] = ['well.example', 'ill.example'] as const
const vapid = { ...vapidKeys(), subject: 'mailto:test@example.com' }
const { p256dh, auth } = createBrowser()

/** p10 to p29: from p15 on, each has a second device, whose push service is ill. */
const PEOPLE = Array.from({ length: 20 }, (_, i) => `p${i + 10}`)
const onWell = PEOPLE.map((user) => `${user}/phone`)
const onIll = PEOPLE.slice(5).map((user) => `${user}/tablet`)

/** Something was pushed to everyone so long ago; the pass of it is due. */
async function stage(t: Test, { agoMs = HOUR_MS } = {}) {
  const w = await world(t)
  const createdAt = new Date(Date.now() - 100 * HOUR_MS)
  await w.store.use((db) =>
    db.run('INSERT INTO users (id, display_name, created_at) VALUES ?', [
      PEOPLE.map((user) => [user, user, createdAt]),
    ]),
  )
  for (const name of [...onWell, ...onIll]) {
    const [user, device] = name.split('/') as [string, string]
    const endpoint = `https://${device === 'phone' ? WELL : ILL}/${name}`
    const endpointHash = createHash('sha256').update(endpoint).digest('hex')
    await putPushSubscription(w.store, { user, device, endpoint, endpointHash, p256dh, auth, createdAt }, 20)
  }
  const said = await w.append(EVERYONE, 1, { sentAt: Date.now() - agoMs })
  await w.persister.handle([said])
  const note = { conversation: EVERYONE, seq: 1, sentAt: said.entry.sentAt }
  await transaction(w.store, (db) => notePasses(db, [note], new Date()))

  const hosts = createPushHosts()
  const tried: string[] = []
  /** How many more devices may wait. */
  const room = { left: 0 }
  const counts = new Map<string, number>()
  /** One that is on its way to the ill one, and the failures that open its breaker, for longer than a test. */
  function shut(): void {
    const far = Date.now() + HOUR_MS
    for (let i = 0; i < 6; i++) hosts.enter(ILL, Date.now())
    for (let i = 0; i < 5; i++) hosts.leave(ILL, false, far)
  }
  const row = async () => {
    const [one] = await w.store.use((db) =>
      db.select<{ after_user: string; due_at: Date | null }>('SELECT after_user, due_at FROM push_passes'),
    )
    return one!
  }
  return {
    ...{ hosts, tried, room, shut, row },
    count: (outcome: string) => counts.get(outcome) ?? 0,
    /** Not lent: it is held, or its end has come. */
    async isIdle() {
      const { due_at: at } = await row()
      return at === null || at.getTime() - Date.now() <= HELD_MS
    },
    isOver: async () => (await row()).due_at === null,
    hasten: () => w.store.use((db) => db.run('UPDATE push_passes SET due_at = ?', [new Date()])),
    /** Devices that wait by themselves. */
    waiting: () => w.store.use((db) => db.select('SELECT user, device FROM push_due ORDER BY user')),
    start(status: (device: string) => number) {
      const passes = startPushPasses({
        ...{ store: w.store, redis: w.redis, keys: w.keys, vapid, hosts, log, cut: () => undefined },
        ...{ afterMs: 0, withText: false, subscribers: { size: 100 }, people: 4, claimMs: CLAIM_MS, lookEveryMs: 20 },
        async post({ url }) {
          const device = new URL(url).pathname.slice(1)
          tried.push(device)
          return { status: status(device), retryAfterMs: 0 }
        },
        admit(devices) {
          if (devices > room.left) return false
          room.left -= devices
          return true
        },
        metrics: {
          done: () => undefined,
          failed: (outcome, n = 1) => void counts.set(outcome, (counts.get(outcome) ?? 0) + n),
        },
      })
      t.after(() => passes.stop())
    },
  }
}

t.test('a pass waits in front of whom it can neither try nor note, and pushes to nobody twice', async (t) => {
  const { hosts, tried, room, shut, row, count, isIdle, isOver, hasten, waiting, start } = await stage(t)
  shut()
  start(() => 201)
  for (const times of [1, 2, 3]) {
    if (times > 1) await hasten()
    await until('it is held', async () => count('held') >= times && (await isIdle()))
    t.equal((await row()).after_user, 'p14')
    t.same(tried, onWell.slice(0, 5), 'those before, once')
  }
  t.equal(count('dropped'), 0)

  room.left = 2
  await hasten()
  await until('two may wait', async () => (await waiting()).length === 2)
  await until('and it is held again', async () => (await row()).after_user === 'p16' && (await isIdle()))
  t.same(await waiting(), [
    { user: 'p15', device: 'tablet' },
    { user: 'p16', device: 'tablet' },
  ])
  t.same(tried, onWell.slice(0, 7), 'their other devices are told')

  hosts.leave(ILL, true, Date.now())
  await hasten()
  await until('it is over', isOver)
  t.same(tried.sort(), [...onWell, ...onIll.slice(2)].sort(), 'each once')
  t.same([count('dropped'), count('retry')], [0, 2])
})

t.test('what is dropped because no more may wait was tried, though its service was left alone', async (t) => {
  const { tried, count, isIdle, isOver, hasten, start } = await stage(t)
  let isIll = true
  start((device) => (isIll && device.endsWith('tablet') ? 503 : 201))
  await until('it is held', () => count('held') > 0)
  t.ok(count('dropped') >= 5, 'those whose failures told that the service is ill')
  isIll = false
  await until('it is over', async () => {
    if (await isOver()) return true
    if (await isIdle()) await hasten()
    return false
  })
  t.same([...new Set(tried)].sort(), [...onWell, ...onIll].sort())
})

t.test('it waits for a day at most', async (t) => {
  const { tried, shut, count, isOver, waiting, start } = await stage(t, { agoMs: 25 * HOUR_MS })
  shut()
  start(() => 201)
  await until('it is over', isOver)
  t.same(tried, onWell)
  t.same([count('given_up'), count('held')], [onIll.length, 0])
  t.same(await waiting(), [])
})

t.end()
