/** Replacing the secret of a webhook: for a while both sign, so that the endpoint can change over without losing an event. */
import { createHmac, randomBytes } from 'node:crypto'
import t from 'tap'
import { until, type World, world } from '../src/index.js'
import { ADMIN, ENV, type Hook, hook, type Received, receiver, SENDER } from './receiver.js'

const OVERLAP_S = 600
const newSecret = (): string => `whsec_${randomBytes(32).toString('base64')}`

/** As an endpoint that knows this secret checks it. */
function isSignedBy(secret: string, { headers, text }: Received): boolean {
  const key = Buffer.from(secret.slice('whsec_'.length), 'base64')
  const signed = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${text}`
  const expected = `v1,${createHmac('sha256', key).update(signed).digest('base64')}`
  return String(headers['webhook-signature']).split(' ').includes(expected)
}

type Changed = Hook & { oldSecretUntil: number | null; code?: string }
const change = (w: World, id: string, body: object, token = ADMIN) =>
  w.http<Changed>('PATCH', `webhooks/${id}`, { token, body })

t.test('a replaced secret signs beside the new one until its time is over, and then no more', async (t) => {
  const w = await world(t, { env: { ...ENV, TIDINGS_HOOKS_SECRET_OVERLAP_S: String(OVERLAP_S) } })
  const r = await receiver(t)
  const [alice, bob] = [await w.user(), await w.user()]
  const { id, secret: first } = await hook(w, { url: `${r.url}/all` })
  const [second, third] = [newSecret(), newSecret()]

  /** Sends until a delivery is signed by these, in this order, and by no other. */
  async function signedBy(...secrets: string[]): Promise<Received> {
    let found: Received | undefined
    await until(`${secrets.length} sign`, async () => {
      const sent = await alice.send(bob)
      const of = (one: Received): boolean => one.event.id === `evt_${sent.id}`
      await until('it came', () => r.received.some(of))
      const one = r.received.find(of)!
      const count = String(one.headers['webhook-signature']).split(' ').length
      if (count === secrets.length && secrets.every((secret) => isSignedBy(secret, one))) found = one
      return found !== undefined
    })
    return found!
  }

  await signedBy(first)
  const replacedAt = Date.now()
  const replaced = await change(w, id, { secret: second })
  t.equal(replaced.status, 200)
  const end = replaced.body.oldSecretUntil!
  t.ok(end >= replacedAt + OVERLAP_S * 1_000 && end <= Date.now() + OVERLAP_S * 1_000, 'for as long as it is set')
  await signedBy(second, first)
  t.match((await change(w, id, { secret: second })).body, { oldSecretUntil: end }, 'repeated, it changes nothing')
  t.match((await change(w, id, { url: `${r.url}/all` })).body, { oldSecretUntil: end }, 'and so does another change')
  await signedBy(second, first)

  const shortened = await change(w, id, { oldSecretFor: 1 })
  const { headers } = await signedBy(second)
  t.ok(Number(headers['webhook-timestamp']) >= Math.floor(shortened.body.oldSecretUntil! / 1_000), 'not before its end')
  t.notOk(r.received.slice(-1).some((one) => isSignedBy(first, one)))
  const listed = await w.http<{ webhooks: Changed[] }>('GET', 'webhooks', { token: ADMIN })
  t.match(listed.body.webhooks, [{ oldSecretUntil: null }])
  for (const secret of [first, second]) t.notOk(listed.text.includes(secret), 'no secret is shown')
  t.match(
    (await change(w, id, { oldSecretFor: 60 })).body,
    { oldSecretUntil: null },
    'what has ended does not come back',
  )
  await signedBy(second)

  t.match((await change(w, id, { secret: third, oldSecretFor: 0 })).body, { oldSecretUntil: null }, 'one that leaked')
  await signedBy(third)
  const since = r.received.length
  await signedBy(third)
  t.notOk(r.received.slice(since).some((one) => isSignedBy(second, one)))
})

t.test('an endpoint that changes over when it likes misses nothing', async (t) => {
  const w = await world(t, { env: ENV })
  const r = await receiver(t)
  const [alice, bob] = [await w.user(), await w.user()]
  const { id, secret } = await hook(w, { url: `${r.url}/all` })
  const next = newSecret()
  const sent: string[] = []
  const say = async (): Promise<void> => void sent.push(`evt_${(await alice.send(bob)).id}`)
  await say()
  t.equal((await change(w, id, { secret: next })).status, 200)
  await say()
  await until('both sign', async () => {
    await say()
    return r.received.some((one) => isSignedBy(next, one))
  })
  for (let i = 0; i < 5; i++) await say()
  await until('all came', () => sent.every((one) => r.taken('/all').has(one)))
  const changesOver = r.received.findIndex((one) => isSignedBy(next, one))
  t.ok(
    r.received.every((one) => isSignedBy(secret, one)),
    'who knows the old one takes all',
  )
  t.ok(r.received.slice(changesOver).filter((one) => isSignedBy(next, one)).length >= 5, 'who knows the new one, too')
})

t.test('who may not change a webhook cannot end its secret, and a wrong time is refused', async (t) => {
  const w = await world(t, { env: ENV })
  const { id } = await hook(w, { url: 'http://127.0.0.1:9/' })
  const alice = await w.user()
  t.equal((await change(w, id, { secret: newSecret() })).status, 200)
  for (const token of [alice.token, SENDER]) {
    t.match(await change(w, id, { oldSecretFor: 0 }, token), { status: 403, body: { code: 'forbidden' } })
  }
  for (const wrong of [
    { oldSecretFor: -1 },
    { oldSecretFor: 2_592_001 },
    { oldSecretFor: 1.5 },
    { secret: 'whsec_short' },
  ]) {
    t.match(await change(w, id, wrong), { status: 400, body: { code: 'invalid_request' } }, JSON.stringify(wrong))
  }
  t.match(await change(w, 'wh_none', { oldSecretFor: 0 }), { status: 404, body: { code: 'not_found' } })
  const [row] = await w.store.use((db) => db.select<{ old: string | null }>('SELECT old_secret AS old FROM webhooks'))
  t.ok(row!.old, 'it is as it was')
  t.equal((await change(w, id, { oldSecretFor: 0 })).status, 200)
  const [after] = await w.store.use((db) => db.select<{ old: string | null }>('SELECT old_secret AS old FROM webhooks'))
  t.equal(after!.old, null, 'what was ended is not kept')
})
