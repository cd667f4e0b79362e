/** Webhooks when something fails: endpoints that do not answer, and workers that die. What happened arrives at least once. */
import t from 'tap'
import { startProcess, until, world } from '../src/index.js'
import { ADMIN, ENV, type Event, type Hook, hook, hooks, receiver } from './receiver.js'

t.test('an endpoint that fails is repeated; one that does not answer, or redirects, holds up nobody', async (t) => {
  const [w, r] = [await world(t, { env: ENV }), await receiver(t)]
  r.answers.set('/dead', undefined)
  r.answers.set('/moved', { status: 302, location: `${r.url}/elsewhere` })
  for (const path of ['/good', '/dead', '/moved', '/late']) await hook(w, { url: `${r.url}${path}` })
  r.answers.set('/late', { status: 500 })
  const [alice, bob] = [await w.user(), await w.user()]
  const sent: string[] = []
  for (let i = 0; i < 40; i++) sent.push(`evt_${(await alice.send(bob)).id}`)
  const began = performance.now()
  await until('the good one has all', () => sent.every((id) => r.taken('/good').has(id)))
  t.comment(`beside a dead one: ${Math.round(performance.now() - began)} ms`)
  await until('the failing one was asked', () =>
    r.received.some(({ path, event }) => path === '/late' && sent.includes(event.id)),
  )
  t.notOk(
    r.received.some(({ path }) => path === '/elsewhere'),
    'no redirect is followed',
  )
  const tries = r.received.filter(({ path }) => path === '/dead').length
  t.ok(tries <= 32 + 5, `${tries} requests wait for the dead one: no more than its share`)
  r.answers.delete('/late')
  await until('it has all, once it is well again', () => sent.every((id) => r.taken('/late').has(id)), 30_000)
  for (const { path, event } of r.received)
    if (path === '/late' && !r.taken('/late').has(event.id)) t.fail(`${event.id} was never taken`)
})

t.test('410 ends a webhook; what is given up can be seen and tried again', async (t) => {
  const [w, r] = [await world(t, { env: { ...ENV, TIDINGS_HOOKS_RETRY_FOR_S: '1' } }), await receiver(t)]
  r.answers.set('/gone', { status: 410 })
  r.answers.set('/bad', { status: 400 })
  const gone = await hook(w, { url: `${r.url}/gone` })
  const bad = await hook(w, { url: `${r.url}/bad` })
  const [alice, bob] = [await w.user(), await w.user()]
  const { id } = await alice.send(bob)
  const find = async (id: string): Promise<Hook> => (await hooks(w)).find((one) => one.id === id)!
  await until('it is ended', async () => !(await find(gone.id)).enabled)
  t.match(await find(gone.id), { disabledBecause: 'gone' })

  interface Dead {
    deliveries: { id: string; event: string; body: string; tries: number; reason: string }[]
    nextCursor: string | null
  }
  const dead = async (): Promise<Dead> => (await w.http<Dead>('GET', `webhooks/${bad.id}/dead`, { token: ADMIN })).body
  await until(
    'it is given up',
    async () => (await dead()).deliveries.some(({ event }) => event === `evt_${id}`),
    20_000,
  )
  const letter = (await dead()).deliveries.find(({ event }) => event === `evt_${id}`)!
  t.match(letter, { reason: /400|in time/ })
  t.equal((JSON.parse(letter.body) as Event).id, `evt_${id}`)
  t.ok((await find(bad.id)).dead > 0)
  const first = await w.http<Dead>('GET', `webhooks/${bad.id}/dead?limit=1`, { token: ADMIN })
  t.equal(first.body.deliveries.length, 1)

  r.answers.delete('/bad')
  const retried = await w.http<{ retried: number }>('POST', `webhooks/${bad.id}/dead/retry`, {
    token: ADMIN,
    body: { ids: [letter.id] },
  })
  t.same(retried.body, { retried: 1 })
  await until('it is taken', () => r.taken('/bad').has(`evt_${id}`))
  t.equal((await w.http('PATCH', `webhooks/${gone.id}`, { token: ADMIN, body: { enabled: true } })).body.enabled, true)
})

t.test('kill -9 of the worker, again and again: every event arrives at least once', async (t) => {
  const [w, r] = [await world(t, { env: ENV, count: { task: 0, connect: 0 } }), await receiver(t)]
  const worker = await startProcess('task', 'task-killed', w.env)
  t.teardown(() => worker.kill('SIGKILL'))
  await until('it serves the group', async () => {
    const made = await w.http('POST', 'webhooks', { token: ADMIN, body: { url: `${r.url}/all`, events: ['message'] } })
    return made.status === 201
  })
  const [alice, bob] = [await w.user(), await w.user()]
  const sent: string[] = []
  for (let round = 0; round < 2; round++) {
    // Deliveries wait for their answers as the worker dies: some are claimed, some not, some taken and not written down.
    r.answers.set('/all', undefined)
    const before = r.received.length
    for (let i = 0; i < 20; i++) sent.push(`evt_${(await alice.send(bob)).id}`)
    await until('some wait for an answer', () => r.received.length > before, 30_000)
    r.answers.delete('/all')
    for (let i = 0; i < 20; i++) sent.push(`evt_${(await alice.send(bob)).id}`)
    await worker.restart()
  }
  await until('all arrived', () => sent.every((id) => r.taken('/all').has(id)), 60_000)
  t.equal(sent.length, 80)
  await until(
    'and nothing is due',
    async () => {
      const [row] = await w.store.use((db) => db.select<{ n: string }>('SELECT COUNT(*) AS n FROM deliveries'))
      return Number(row!.n) === 0
    },
    30_000,
  )
})

t.test('a worker that is told to stop does so in order, whatever does not answer', async (t) => {
  const [w, r] = [await world(t, { env: ENV, count: { task: 0, connect: 0 } }), await receiver(t)]
  r.answers.set('/dead', undefined)
  const worker = await startProcess('task', 'task-stopped', w.env)
  t.teardown(() => worker.kill('SIGKILL'))
  await until('it serves the group', async () => {
    const made = await w.http('POST', 'webhooks', { token: ADMIN, body: { url: `${r.url}/dead`, events: ['message'] } })
    return made.status === 201
  })
  await (await w.user()).send(await w.user())
  await until('a request waits', () => r.received.length > 0)
  t.equal(await worker.stop(), 0)
})
