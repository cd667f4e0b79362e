/** Ending sessions while something is away: nothing is said to be done that is not. */

import { AppError, startRpcServer } from '@tidings/protocol'
import { connectRegistry, createConnectNodes } from '@tidings/registry'
import { given } from '@tidings/service/test-env'
import { revokedSince } from '@tidings/store'
import { test } from 'tap'
import { listDevices, removeDevice } from '../src/device-list.js'
import { createLiveSessions, type LiveSession, type LiveSessions } from '../src/live-sessions.js'
import { endSessions, listSessions } from '../src/session-ends.js'
import { openSession } from '../src/sessions.js'
import { log, openDevice, world } from './world.js'

const away = (): AppError => new AppError('unavailable')
const row = (id: string) => ({
  ...{ id, displayName: id, passwordHash: null, hasBlocks: false },
  ...{ createdAt: new Date(), disabledAt: null, deletedAt: null },
})

/** Live sessions as etcd and the nodes would have them; `sick` is a step that fails. */
function living(sessions: (LiveSession & { signIn: string })[]) {
  const kicked: string[] = []
  const state = { sick: undefined as 'of' | 'signInOf' | 'kick' | undefined }
  const live: LiveSessions = {
    async of() {
      if (state.sick === 'of') throw away()
      return sessions.filter(({ session }) => !kicked.includes(session))
    },
    async signInOf({ session }) {
      if (state.sick === 'signInOf') throw away()
      return sessions.find((one) => one.session === session)?.signIn
    },
    async kick({ session }) {
      if (state.sick === 'kick') throw away()
      kicked.push(session)
    },
  }
  return { live, kicked, state }
}

test('a kick that failed in the middle is repeated, and ends what is left', async (t) => {
  const { deps, store, people } = await world(t)
  await people('alice')
  const { sessionId } = await openSession(deps, row('alice'), 'phone')
  const { live, kicked, state } = living([{ session: 's1', node: 'n1', device: 'phone', signIn: sessionId }])
  const all = { ...deps, live }
  const request = { user: 'alice', session: 's1' }
  const revoked = async () => (await revokedSince(store, new Date(0))).map(({ id }) => id)
  for (const sick of ['of', 'signInOf'] as const) {
    state.sick = sick
    await t.rejects(endSessions(all, request), { code: 'unavailable' }, sick)
    t.same([await revoked(), kicked], [[], []], 'nothing was done')
  }
  state.sick = 'kick'
  await t.rejects(endSessions(all, request), { code: 'unavailable' })
  t.same(await revoked(), [sessionId], 'the sign-in first: whoever is closed cannot come back')
  state.sick = undefined
  await endSessions(all, request)
  t.same(kicked, ['s1'])
  await t.rejects(endSessions(all, request), { code: 'session_not_found' })
  await t.rejects(endSessions(all, { user: 'alice', session: 'a.b' }), { code: 'invalid_request' })
  t.same((await listSessions(all, { user: 'alice' })).signIns, [])
})

test('all of a user end: more than are ended at once, and the sign-ins that nobody uses', async (t) => {
  const { deps, people } = await world(t)
  await people('alice', 'bob')
  const resting = await openSession(deps, row('alice'), 'tv')
  const bobs = await openSession(deps, row('bob'), 'tv')
  const many = Array.from({ length: 40 }, (_, i) => ({ session: `s${i}`, node: 'n1', device: `d${i}`, signIn: '' }))
  const { live, kicked } = living(many)
  const all = { ...deps, live }
  t.match((await listSessions(all, { user: 'alice' })).signIns, [{ id: resting.sessionId, device: 'tv' }])
  await endSessions(all, { user: 'alice', session: '' })
  t.equal(kicked.length, 40)
  t.same((await listSessions(all, { user: 'alice' })).signIns, [])
  t.match((await listSessions(all, { user: 'bob' })).signIns, [{ id: bobs.sessionId }], 'others stay')
})

test('a device that could not be removed wholly is there until it was', async (t) => {
  const { deps, people, say, mysql } = await world(t)
  await people('alice', 'bob')
  await say('alice', 'bob', 'one')
  await openDevice(deps, 'bob', 'phone')
  const { live, kicked, state } = living([{ session: 's1', node: 'n1', device: 'phone', signIn: '' }])
  const all = { ...deps, live }
  const listed = async () => (await listDevices(all, { user: 'bob', cursor: '', limit: 0 })).devices
  const remove = () => removeDevice(all, { user: 'bob', device: 'phone' })
  for (const sick of ['of', 'kick'] as const) {
    state.sick = sick
    await t.rejects(remove(), { code: 'unavailable' }, sick)
  }
  state.sick = undefined
  t.match(await listed(), [{ device: 'phone', online: true, lastSeen: 0, conversations: 0 }])
  mysql.cut()
  await t.rejects(remove(), { code: 'unavailable' }, 'mysql')
  mysql.heal()
  await remove()
  t.same(kicked, ['s1'])
  t.same(await listed(), [])
  await t.rejects(remove(), { code: 'device_not_found' })
  // Signed in, and never connected.
  await openSession(deps, row('bob'), 'tablet')
  await removeDevice(all, { user: 'bob', device: 'tablet' })
  t.same((await listSessions(all, { user: 'bob' })).signIns, [])
})

test('a node that does not answer, or is not listed, is not passed over', async (t) => {
  const registry = await connectRegistry({
    ...{ urls: [given('TIDINGS_ETCD_URL')], namespace: `l${process.pid}`, leaseSeconds: 5, log },
  })
  t.teardown(() => registry.stop())
  const stopped = await startRpcServer({
    host: '127.0.0.1',
    port: 0,
    token: 'x',
    services: [],
    onInternalError: () => {},
  })
  await stopped.stop()
  const nodes = createConnectNodes('x')
  t.teardown(() => nodes.stop())
  nodes.set(new Map([['dead', { address: stopped.address, version: '', bootId: '' }]]))
  const live = createLiveSessions({ registry, nodes })
  t.same(await live.of('nobody'), [])
  for (const node of ['dead', 'unknown']) {
    await t.rejects(live.kick({ session: 's', node, device: 'd' }), { code: 'unavailable' }, node)
    await t.rejects(live.signInOf({ session: 's', node, device: 'd' }), { code: 'unavailable' }, node)
  }
})
