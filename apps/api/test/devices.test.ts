/** Devices over HTTP, and what a server reads as somebody. */
import { AppError } from '@tidings/protocol'
import { test } from 'tap'
import { isProblem, READ_TOKEN, ROOM, SEND_TOKEN, world } from './world.js'

const device = { device: 'phone', createdAt: 1, lastSeen: 0, online: true, conversations: 2 }

test('devices are listed and removed, one’s own and by an operator anybody’s', async (t) => {
  const w = await world(t)
  w.behind.listDevices = () => ({ devices: [device, { ...device, device: 'tv', lastSeen: 7 }], nextCursor: 'tv' })
  const shown = {
    devices: [
      { ...device, lastSeen: null },
      { ...device, device: 'tv', lastSeen: 7 },
    ],
    nextCursor: 'tv',
  }
  t.same((await w.call('GET', 'me/devices?cursor=abc&limit=2')).body, shown)
  t.same(w.calls.at(-1), ['listDevices', { user: 'alice', cursor: 'abc', limit: 2 }])
  t.same((await w.admin('GET', 'admin/users/bob/devices')).body, shown)
  t.same(w.calls.at(-1), ['listDevices', { user: 'bob', cursor: '', limit: 50 }])
  t.equal((await w.call('DELETE', 'me/devices/phone')).status, 204)
  t.same(w.calls.at(-1), ['removeDevice', { user: 'alice', device: 'phone' }])
  t.equal((await w.admin('DELETE', 'admin/users/bob/devices/phone')).status, 204)
  t.same(w.calls.at(-1), ['removeDevice', { user: 'bob', device: 'phone' }])
  w.behind.changeRoom = () => {
    throw new AppError('device_not_found')
  }
  isProblem(t, await w.call('DELETE', 'me/devices/none'), 404, 'device_not_found', 'never there')
})

test('what is no device, and whoever is no user, does not reach logic', async (t) => {
  const w = await world(t)
  for (const name of ['a%20b', '%00', 'x'.repeat(65), 'a%3Ab'])
    isProblem(t, await w.call('DELETE', `me/devices/${name}`), 400, 'invalid_request', name)
  for (const query of ['limit=0', 'limit=201', 'x=1'])
    isProblem(t, await w.call('GET', `me/devices?${query}`), 400, 'invalid_request', query)
  for (const [method, path] of [
    ['GET', 'me/devices'],
    ['DELETE', 'me/devices/phone'],
  ] as const) {
    isProblem(t, await w.call(method, path, { as: false }), 401, 'unauthenticated', method)
    isProblem(t, await w.call(method, path, { token: READ_TOKEN }), 403, 'forbidden', `${method} by a service`)
  }
  t.same(
    w.calls.filter(([name]) => name !== 'seeUser'),
    [],
  )
})

test('a server with the scope read reads as somebody; nobody else does', async (t) => {
  const w = await world(t)
  const reads: [path: string, method: string][] = [
    ['conversations', 'listConversations'],
    ['conversations/dm:bob:carol/messages', 'readHistory'],
    [`rooms/${ROOM}`, 'getRoom'],
    [`rooms/${ROOM}/members`, 'listMembers'],
    ['messages/7', 'getMessage'],
  ]
  w.behind.getMessage = () => ({
    entry: {
      ...{ id: '7', conversation: 'dm:bob:carol', seq: 1, n: 1, from: 'bob', type: 'text', content: '{}' },
      ...{ clientId: '', sentAt: 1, extra: '', options: '' },
    },
    stored: true,
    others: [],
    routed: undefined,
  })
  for (const [path, method] of reads) {
    t.equal((await w.call('GET', `${path}?as=bob`, { token: READ_TOKEN })).status, 200, path)
    t.match(w.calls.at(-1), [method, { user: 'bob' }], path)
    isProblem(t, await w.call('GET', path, { token: READ_TOKEN }), 403, 'forbidden', `${path} as nobody`)
    isProblem(
      t,
      await w.call('GET', `${path}?as=bob`, { token: SEND_TOKEN }),
      403,
      'forbidden',
      `${path} without the scope`,
    )
    isProblem(t, await w.call('GET', `${path}?as=bob`, { as: 'alice' }), 403, 'forbidden', `${path} by a user`)
    isProblem(t, await w.call('GET', `${path}?as=a%20b`, { token: READ_TOKEN }), 400, 'invalid_request', path)
  }
  const strange = await w.call('GET', 'conversations/dm:bob:carol/messages?as=dora', { token: READ_TOKEN })
  isProblem(t, strange, 404, 'conversation_not_found', 'somebody who is not in it')
})
