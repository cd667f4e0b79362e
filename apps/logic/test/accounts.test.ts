import { EVERYONE } from '@tidings/protocol'
import { given } from '@tidings/service/test-env'
import { connectRedis } from '@tidings/stream'
import t from 'tap'
import { login, makeUser, register } from '../src/accounts.js'
import { unwrap } from '../src/outcome.js'
import { createPasswords } from '../src/passwords.js'
import { startRevocations } from '../src/revocations.js'
import { logout, refresh } from '../src/sessions.js'
import { deleteUser, getUser, seeUsers, setUserDisabled, updateUser } from '../src/users.js'
import { log, permit, until, world } from './world.js'

const { deps, redis, keys, store, mysql, people, forgetRedis } = await world(t)
const seeUser = async (user: string) => unwrap((await seeUsers(deps, { users: [user] }))[0]!)
const PASSWORD = 'correct horse 🐎'
const account = (username: string, displayName = '') => register(deps, { username, password: PASSWORD, displayName })

t.test('a name is given out once, and names are compared byte for byte', async (t) => {
  const grant = await account('alice', 'Alice 🌸')
  t.match(grant, {
    user: { id: 'alice', displayName: 'Alice 🌸' },
    sessionId: /^[\w-]{22}$/,
    refreshToken: /^[\w-]{43}$/,
  })
  await t.rejects(account('alice'), { code: 'username_taken' })
  t.match(await account('Alice'), { user: { id: 'Alice', displayName: 'Alice' } })
  await store.use((db) => db.run("UPDATE users SET deleted_at = created_at, password_hash = NULL WHERE id = 'Alice'"))
  await t.rejects(account('Alice'), { code: 'username_taken' }, 'not again after its account was deleted')
  await t.rejects(login(deps, { username: 'Alice', password: PASSWORD, device: '' }), { code: 'invalid_credentials' })
  await t.rejects(getUser(store, { user: 'Alice' }), { code: 'user_not_found' })
})

t.test(
  'a new account is shown nothing of what was said to everyone before, also where that is not stored yet',
  async (t) => {
    await redis.set(keys.seq(EVERYONE), 3)
    await account('newcomer')
    await makeUser(deps, { user: 'made', password: '', displayName: '' })
    t.same(
      await deps.broadcasts.startsOf(['newcomer', 'made']),
      new Map([
        ['newcomer', 3],
        ['made', 3],
      ]),
    )
    await redis.del(keys.seq(EVERYONE))
  },
)

t.test('of many who register one name at once, one gets it', async (t) => {
  const answers = await Promise.allSettled(Array.from({ length: 8 }, () => account('racer')))
  t.equal(answers.filter(({ status }) => status === 'fulfilled').length, 1)
  for (const answer of answers) if (answer.status === 'rejected') t.equal(answer.reason.code, 'username_taken')
})

t.test('what cannot be a name, a password or a display name is refused before anything is hashed', async (t) => {
  const tries = [
    { username: 'a b', password: PASSWORD, displayName: '' },
    { username: 'x'.repeat(65), password: PASSWORD, displayName: '' },
    { username: 'ok', password: 'short', displayName: '' },
    { username: 'ok', password: 'x'.repeat(129), displayName: '' },
    { username: 'ok', password: 'x'.repeat(1024 * 1024), displayName: '' },
    { username: 'ok', password: PASSWORD, displayName: 'line\nbreak' },
    { username: 'ok', password: PASSWORD, displayName: '\u202Eevil' },
    { username: 'ok', password: PASSWORD, displayName: ' ' },
    { username: 'ok', password: PASSWORD, displayName: 'x'.repeat(101) },
  ]
  for (const request of tries) await t.rejects(register(deps, request), { code: 'invalid_request' })
  await t.rejects(register({ ...deps, registration: 'closed' }, tries[0]!), { code: 'registration_closed' })
})

t.test('a password is the same however its characters are composed; 128 of any are allowed', async (t) => {
  await register(deps, { username: 'nfc', password: 'Ame\u0301lie-123', displayName: '' })
  t.match(await login(deps, { username: 'nfc', password: 'Am\u00e9lie-123', device: 'phone' }), { user: { id: 'nfc' } })
  await register(deps, { username: 'long', password: '🐎'.repeat(128), displayName: '' })
})

t.test('a wrong name and a wrong password are answered alike', async (t) => {
  const answerOf = async (username: string) => {
    const began = performance.now()
    const error = await login(deps, { username, password: 'not the password', device: '' }).catch((e: Error) => e)
    return { error: error as Error & { code: string }, ms: performance.now() - began }
  }
  const known = await answerOf('alice')
  const unknown = await answerOf('nobody')
  t.equal(known.error.code, 'invalid_credentials')
  t.same([unknown.error.code, unknown.error.message], [known.error.code, known.error.message])
  t.ok(unknown.ms > 5, 'the unknown one was hashed too')
  await seeUser('outside')
  t.equal((await answerOf('outside')).error.code, 'invalid_credentials', 'no password, no way in')
})

t.test('a disabled user gets no session, no refresh and no permit', async (t) => {
  const { refreshToken } = await account('mallory')
  await people('victim')
  await store.use((db) => db.run("UPDATE users SET disabled_at = NOW(3) WHERE id = 'mallory'"))
  await t.rejects(login(deps, { username: 'mallory', password: PASSWORD, device: '' }), { code: 'user_disabled' })
  await t.rejects(login(deps, { username: 'mallory', password: 'a wrong one', device: '' }), {
    code: 'invalid_credentials',
  })
  await t.rejects(refresh(deps, { refreshToken }), { code: 'user_disabled' })
  await t.rejects(seeUser('mallory'), { code: 'user_disabled' })
  await t.rejects(permit(deps, { user: 'mallory', conversation: 'dm:mallory:victim' }), { code: 'user_disabled' })
})

t.test('a deleted account leaves its name behind, and nothing to sign in with', async (t) => {
  const first = await account('deleted', 'A person')
  const second = await login(deps, { username: 'deleted', password: PASSWORD, device: 'tablet' })
  await deleteUser(deps, { user: 'deleted' })
  const [row] = await store.use((db) => db.select("SELECT * FROM users WHERE id = 'deleted'"))
  t.match(row, { display_name: 'Deleted user', password_hash: null, disabled_at: null, deleted_at: Date })
  for (const grant of [first, second]) {
    await t.rejects(refresh(deps, grant), { code: 'unauthenticated' })
    t.ok(await redis.zscore(keys.revoked(), grant.sessionId))
  }
  t.ok(await redis.zscore(keys.revoked(), 'user:deleted'))
  await t.rejects(account('deleted'), { code: 'username_taken' })
  await t.rejects(login(deps, { username: 'deleted', password: PASSWORD, device: '' }), { code: 'invalid_credentials' })
  await t.rejects(seeUser('deleted'), { code: 'user_disabled' })
  await t.rejects(updateUser(store, { user: 'deleted', displayName: 'back' }), { code: 'user_disabled' })
  await deleteUser(deps, { user: 'deleted' })
  const [again] = await store.use((db) => db.select("SELECT * FROM users WHERE id = 'deleted'"))
  t.same(again, row, 'repeating it changes nothing')
  await t.rejects(deleteUser(deps, { user: 'nobody' }), { code: 'user_not_found' })
  await forgetRedis()
  const next = startRevocations({ redis, keys, store, accessTokenS: 600, log })
  t.after(() => next.stop())
  await until(() => next.settled)
  t.ok(await redis.zscore(keys.revoked(), 'user:deleted'), 'a Redis that forgot it is told again')
})

t.test('of logins while the account is being ended none stays', async (t) => {
  await account('ending')
  for (let round = 0; round < 5; round++) {
    const logins = Array.from({ length: 4 }, () => login(deps, { username: 'ending', password: PASSWORD, device: '' }))
    await Promise.race(logins)
    await setUserDisabled(deps, { user: 'ending', disabled: true })
    const grants = (await Promise.allSettled(logins)).flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
    t.ok(grants.length > 0)
    for (const grant of grants) {
      t.ok(await redis.zscore(keys.revoked(), grant.sessionId), 'the edges were told')
      await t.rejects(refresh(deps, grant), { code: 'unauthenticated' })
    }
    await setUserDisabled(deps, { user: 'ending', disabled: false })
  }
})

t.test('hashing is bounded: what does not fit is refused, what waits is done', async (t) => {
  const passwords = await createPasswords(1, 2)
  const answers = await Promise.allSettled(Array.from({ length: 5 }, () => passwords.hash('a password')))
  t.same(
    answers.map(({ status }) => status),
    ['fulfilled', 'fulfilled', 'fulfilled', 'rejected', 'rejected'],
  )
  t.match(answers[4], { reason: { code: 'overloaded', retryAfter: 1 } })
  t.equal(await passwords.matches('a password', await passwords.hash('a password')), true)
})

t.test('a refresh token is used once; its second use ends the session and tells the edges', async (t) => {
  const first = await account('rotates')
  const second = await refresh(deps, first)
  t.not(second.refreshToken, first.refreshToken)
  t.equal(second.sessionId, first.sessionId)
  await t.rejects(refresh(deps, first), { code: 'unauthenticated' })
  await t.rejects(refresh(deps, second), { code: 'unauthenticated' }, 'the family is dead')
  t.ok(await redis.zscore(keys.revoked(), first.sessionId))
  await t.rejects(refresh(deps, { refreshToken: 'x' }), { code: 'unauthenticated' })
})

t.test('two refreshes of one token at the same moment: exactly one wins', async (t) => {
  const grant = await account('twice')
  const answers = await Promise.allSettled([refresh(deps, grant), refresh(deps, grant)])
  t.same(answers.map(({ status }) => status).sort(), ['fulfilled', 'rejected'])
  t.ok(await redis.zscore(keys.revoked(), grant.sessionId))
})

t.test('a logout is of one’s own session, may be repeated, and outlives a Redis that forgot it', async (t) => {
  const grant = await account('leaves')
  await logout(deps, { user: 'alice', sessionId: grant.sessionId })
  t.equal(await redis.zscore(keys.revoked(), grant.sessionId), null, 'somebody else’s')
  await logout(deps, { user: 'leaves', sessionId: grant.sessionId })
  await logout(deps, { user: 'leaves', sessionId: grant.sessionId })
  t.ok(await redis.zscore(keys.revoked(), grant.sessionId))
  await t.rejects(refresh(deps, grant), { code: 'unauthenticated' })
  await forgetRedis()
  const next = startRevocations({ redis, keys, store, accessTokenS: 600, log })
  t.after(() => next.stop())
  await until(() => next.settled)
  t.ok(await redis.zscore(keys.revoked(), grant.sessionId), 'the next start publishes it again')
})

t.test('a logout while Redis is away succeeds and is told when it is back', async (t) => {
  const grant = await account('offline')
  const other = await connectRedis(given('TIDINGS_REDIS_URL'), log)
  const revocations = startRevocations({ redis: other, keys, store, accessTokenS: 600, log })
  t.after(async () => {
    await revocations.stop()
    other.disconnect()
  })
  await until(() => revocations.settled)
  other.disconnect(true)
  await logout({ ...deps, revocations }, { user: 'offline', sessionId: grant.sessionId })
  await until(async () => (await redis.zscore(keys.revoked(), grant.sessionId)) !== null)
})

t.test('a revoked session is scored by the clock of Redis: one of ours that is ahead hides nothing', async (t) => {
  const { now } = Date
  t.teardown(() => {
    Date.now = now
  })
  Date.now = () => now() + 3_600_000
  await deps.revocations.publish(['told-ahead'])
  Date.now = now
  await deps.revocations.publish(['told-after'])
  const [ahead, after] = await redis.zmscore(keys.revoked(), 'told-ahead', 'told-after')
  t.ok(ahead && after && Number(ahead) <= Number(after), 'the edges read on from the newest score')
})

t.test('who may write where', async (t) => {
  await people('ann', 'ben', 'gone')
  await store.use((db) => db.run("UPDATE users SET deleted_at = NOW(3) WHERE id = 'gone'"))
  const ask = (user: string, conversation: string) => permit(deps, { user, conversation })
  t.same(await ask('ann', 'dm:ann:ben'), { ttlMs: 600_000 })
  t.same(await ask('ann', 'dm:ann:ann'), { ttlMs: 600_000 }, 'notes to self')
  await t.rejects(ask('ann', 'dm:ann:nobody'), { code: 'user_not_found' })
  await t.rejects(ask('ann', 'dm:ann:gone'), { code: 'user_not_found' })
  await t.rejects(ask('nobody', 'dm:ben:nobody'), { code: 'user_not_found' })
  for (const foreign of [
    'dm:ben:gone',
    'dm:ben:ann',
    'dm:Ann:ben',
    'room:abcdefghij012345',
    'feed:ben',
    'nonsense',
    '',
  ]) {
    await t.rejects(ask('ann', foreign), { code: 'conversation_not_found' }, foreign)
  }
  await t.rejects(ask('ann', 'feed:ann'), { code: 'forbidden' })
  await t.rejects(ask('ann', 'feed:*'), { code: 'forbidden' })
  await t.rejects(ask('a b', 'dm:ann:ben'), { code: 'invalid_request' })
})

t.test('a user is seen once and stays', async (t) => {
  await Promise.all([seeUser('sub@idp'), seeUser('sub@idp')])
  t.match(await getUser(store, { user: 'sub@idp' }), { id: 'sub@idp', displayName: 'sub@idp' })
  const mixed = await seeUsers(deps, { users: ['sub@idp', 'sub:{1}', 'new@idp', 'new@idp'] })
  t.same(
    mixed.map(({ error }) => error?.code),
    [undefined, 'invalid_request', undefined, undefined],
    'one that is refused holds up no other',
  )
  t.match(await getUser(store, { user: 'new@idp' }), { id: 'new@idp' })
  await t.rejects(getUser(store, { user: 'SUB@idp' }), { code: 'user_not_found' })
})

t.test('without MySQL every answer is unavailable, none is wrong', async (t) => {
  mysql.cut()
  await t.rejects(login(deps, { username: 'alice', password: PASSWORD, device: '' }), { code: 'unavailable' })
  const unseen = { user: 'nobody', conversation: 'dm:ann:nobody' }
  await t.rejects(permit(deps, unseen), { code: 'unavailable' })
  await t.rejects(getUser(store, { user: 'alice' }), { code: 'unavailable' })
  mysql.heal()
  t.match(await login(deps, { username: 'alice', password: PASSWORD, device: '' }), { user: { id: 'alice' } })
})

t.end()
