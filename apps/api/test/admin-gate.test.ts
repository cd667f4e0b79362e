/** Who may operate: signed, from a listed address, once. */
import { createHash, createHmac } from 'node:crypto'
import { AppError } from '@tidings/protocol'
import { type Test, test } from 'tap'
import { ADMIN, away, isProblem, SEND_TOKEN, world } from './world.js'

const PATH = 'admin/nodes'
const MINUTE = 60_000

test('a signed request from a listed address is answered', async (t) => {
  const { admin } = await world(t)
  const reply = await admin('GET', PATH)
  t.equal(reply.status, 200)
  t.same(reply.body, { nodes: [], sessions: 0 })
})

test('the signature is what the page says, made by hand', async (t) => {
  const { call } = await world(t)
  const timestamp = String(Math.floor(Date.now() / 1_000))
  const nonce = '0123456789abcdef'
  const digest = createHash('sha256').update('').digest('hex')
  const text = `GET\n/api/v1/admin/partitions?group=push\n${digest}\n${timestamp}\n${nonce}`
  const signature = createHmac('sha256', ADMIN.secret).update(text).digest('hex')
  const headers = {
    'x-tidings-key': ADMIN.name,
    'x-tidings-timestamp': timestamp,
    'x-tidings-nonce': nonce,
    'x-tidings-signature': signature,
  }
  t.equal((await call('GET', 'admin/partitions?group=push', { as: false, headers })).status, 200)
  isProblem(
    t,
    await call('GET', 'admin/partitions?group=push', { as: false, headers }),
    401,
    'signature_replayed',
    'twice',
  )
})

test('any other request than the signed one is refused', async (t) => {
  const { admin, calls } = await world(t)
  const rows: [string, Parameters<typeof admin>[2]][] = [
    ['another method', { signed: { method: 'DELETE' } }],
    ['another path', { signed: { target: '/api/v1/admin/partitions' } }],
    ['another query', { signed: { target: '/api/v1/admin/nodes?x=1' } }],
    ['a body that was not signed', { body: '{}', signed: { body: '' } }],
    ['another body', { body: '{"a":1}', signed: { body: '{"a":2}' } }],
    ['another secret', { key: { ...ADMIN, secret: 'x'.repeat(40) } }],
    ['a key that is not known', { key: { name: 'nobody', secret: ADMIN.secret } }],
    ['a key that is not known, with what it is compared to', { key: { name: 'nobody', secret: '-' } }],
    ['another time', { headers: { 'x-tidings-timestamp': String(Date.now() - 1) } }],
    ['another nonce', { headers: { 'x-tidings-nonce': 'a'.repeat(32) } }],
    ['another signature', { headers: { 'x-tidings-signature': '0'.repeat(64) } }],
  ]
  for (const [about, options] of rows) {
    const reply = await admin('GET', PATH, options)
    isProblem(t, reply, 401, 'signature_invalid', about)
    t.equal(reply.headers['www-authenticate'], 'Tidings-Signature', about)
  }
  t.same(calls, [])
})

test('what is not signed, or not in form, is refused; a token does not stand for a signature', async (t) => {
  const { call, admin } = await world(t)
  isProblem(t, await call('GET', PATH, { as: false }), 401, 'signature_required', 'nothing')
  isProblem(t, await call('GET', PATH, { as: 'alice' }), 401, 'signature_required', 'a user')
  isProblem(t, await call('GET', PATH, { token: SEND_TOKEN }), 401, 'signature_required', 'a service')
  for (const [header, value] of [
    ['key', 'a b'],
    ['key', ''],
    ['timestamp', 'now'],
    ['timestamp', '12345'],
    ['nonce', 'short'],
    ['nonce', 'x'.repeat(65)],
    ['nonce', 'x:y:z*'.repeat(4)],
    ['signature', 'AB'.repeat(32)],
    ['signature', ''],
  ]) {
    const reply = await admin('GET', PATH, { headers: { [`x-tidings-${header}`]: value! } })
    isProblem(t, reply, 401, 'signature_required', `${header}: ${value}`)
  }
})

test('a request is taken once', async (t) => {
  const { admin } = await world(t)
  const nonce = { 'x-tidings-nonce': 'abcdefabcdefabcdef' }
  const at = Date.now()
  const once = async () => {
    const text = `GET\n/api/v1/${PATH}\n${createHash('sha256').digest('hex')}\n${at}\n${nonce['x-tidings-nonce']}`
    const signature = createHmac('sha256', ADMIN.secret).update(text).digest('hex')
    return await admin('GET', PATH, {
      headers: { ...nonce, 'x-tidings-timestamp': String(at), 'x-tidings-signature': signature },
    })
  }
  t.equal((await once()).status, 200)
  isProblem(t, await once(), 401, 'signature_replayed', 'the same bytes again')
})

test('a signature holds for five minutes, to both sides', async (t) => {
  const { admin } = await world(t)
  for (const off of [-4.9, 4.9]) {
    t.equal((await admin('GET', PATH, { signed: { at: Date.now() + off * MINUTE } })).status, 200, `${off} minutes`)
  }
  for (const off of [-5.1, 5.1, -60, 60 * 24 * 365]) {
    const reply = await admin('GET', PATH, { signed: { at: Date.now() + off * MINUTE } })
    isProblem(t, reply, 401, 'signature_expired', `${off} minutes`)
    t.ok(Math.abs(reply.body.serverTime - Date.now()) < MINUTE)
  }
})

test('while nobody can tell whether it was sent before, it is not taken', async (t) => {
  const { admin, behind } = await world(t)
  behind.nonce = () => {
    throw away()
  }
  const reply = await admin('GET', PATH)
  isProblem(t, reply, 503, 'unavailable', 'Redis away')
  t.ok(reply.headers['retry-after'])
})

test('without keys there are no calls for operators', async (t) => {
  const { admin } = await world(t, { adminKeys: [] })
  isProblem(t, await admin('GET', PATH), 403, 'admin_off', 'no keys')
})

test('the address is the one that the last proxy of ours has seen', async (t) => {
  const { admin } = await world(t, {
    trustProxy: ['127.0.0.1/32', '10.0.0.0/8'],
    adminAddresses: ['192.0.2.0/24', 'fd00::/8'],
  })
  const rows: [peer: string, forwarded: string | undefined, allowed: boolean][] = [
    ['192.0.2.7', undefined, true],
    ['::ffff:192.0.2.7', undefined, true],
    ['fd00::7', undefined, true],
    ['198.51.100.1', undefined, false],
    // Not a proxy of ours: what it says counts for nothing, to either side.
    ['198.51.100.1', '192.0.2.7', false],
    ['192.0.2.7', '198.51.100.1', true],
    ['127.0.0.1', '192.0.2.7', true],
    ['127.0.0.1', '198.51.100.1', false],
    // The client has made up the first one; our proxy has seen the second.
    ['127.0.0.1', '192.0.2.7, 198.51.100.1', false],
    ['127.0.0.1', '198.51.100.1, 192.0.2.7', true],
    ['127.0.0.1', '192.0.2.7, 10.1.2.3', true],
    ['127.0.0.1', 'unknown', false],
    ['127.0.0.1', '192.0.2.7:4711', false],
    ['127.0.0.1', '', false],
    ['127.0.0.1', undefined, false],
  ]
  for (const [peer, forwarded, allowed] of rows) {
    const reply = await admin('GET', PATH, {
      peer,
      ...(forwarded !== undefined && { headers: { 'x-forwarded-for': forwarded } }),
    })
    const about = `${peer} for ${forwarded}`
    if (allowed) t.equal(reply.status, 200, about)
    else isProblem(t, reply, 403, 'address_not_allowed', about)
  }
})

test('refusals count against the address, and leave a line that says who', async (t) => {
  const counted: string[] = []
  const { admin, lines } = await world(t, {
    rates: {
      stranger(address) {
        counted.push(address)
        if (counted.length > 2) throw new AppError('rate_limited', 'Too many.', { retryAfter: 1 })
      },
    },
  })
  const wrong = (headers = {}) => admin('GET', PATH, { key: { ...ADMIN, secret: 'x'.repeat(40) }, headers })
  isProblem(t, await wrong(), 401, 'signature_invalid', 'first')
  isProblem(t, await wrong({ authorization: 'Bearer x' }), 401, 'signature_invalid', 'second, counted once as well')
  isProblem(t, await wrong(), 429, 'rate_limited', 'third')
  t.same(counted, ['127.0.0.1', '127.0.0.1', '127.0.0.1'])
  const told = lines.filter(({ msg }) => msg === 'an operator was refused')
  t.match(told, [{ code: 'signature_invalid', key: 'ops', address: '127.0.0.1', path: '/api/v1/admin/nodes' }])
  t.notMatch(JSON.stringify(lines), ADMIN.secret)
})

test('the calls of operators are answered while others are shed', async (t) => {
  const { admin, call } = await world(t, { limits: { inFlight: 0 } })
  isProblem(t, await call('GET', 'me'), 503, 'overloaded', 'others')
  t.equal((await admin('GET', PATH)).status, 200)
})

test('nodes and partitions come as etcd and Redis have them', async (t: Test) => {
  const { admin, behind, calls } = await world(t)
  const node = { app: 'task' as const, instance: 'task-1', address: '127.0.0.1:1', version: '0.1.0', bootId: 'b' }
  behind.nodes = () => ({ nodes: [{ ...node, groups: ['push'] }], sessions: 3 })
  t.same((await admin('GET', 'admin/nodes')).body, { nodes: [{ ...node, groups: ['push'] }], sessions: 3 })
  const row = {
    ...{ group: 'push' as const, partition: 3, owner: null, fence: null },
    ...{ lag: 1, pending: 2, length: 3, oldest: 1_763_700_000_000, dead: 0 },
  }
  behind.partitions = () => ({ partitions: [row], owners: false })
  t.same((await admin('GET', 'admin/partitions?group=push')).body, { partitions: [row], owners: false })
  t.same(calls, [['partitions', { group: 'push' }]])
  for (const query of ['group=other', 'x=1']) {
    isProblem(t, await admin('GET', `admin/partitions?${query}`), 400, 'invalid_request', query)
  }
})
