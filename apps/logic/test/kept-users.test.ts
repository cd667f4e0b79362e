/** Sending goes on while MySQL is away, for whoever may send. */
import { watchRevocations } from '@tidings/stream'
import t from 'tap'
import { login, register } from '../src/accounts.js'
import { block, unblock } from '../src/blocks.js'
import { createKeptUsers } from '../src/kept-users.js'
import { seeUsers, setUserDisabled } from '../src/users.js'
import { log, permit, until, world } from './world.js'

const { deps, redis, keys, mysql } = await world(t)
const { keptUsers } = deps
const ask = (user: string, conversation: string, of = deps) => permit(of, { user, conversation })
const password = 'a password of somebody'
const join = (username: string) => register(deps, { username, password, displayName: '' })
const see = (...users: string[]) => seeUsers(deps, { users })

t.test('who has registered, signed in or been seen may write to each other', async (t) => {
  await join('ann')
  await join('ben')
  keptUsers.forget(['ben'])
  await login(deps, { username: 'ben', password, device: '' })
  await see('outside')
  mysql.cut()
  t.match(await ask('ann', 'dm:ann:ben'), { ttlMs: Number })
  t.match(await ask('ben', 'dm:ben:outside'), { ttlMs: Number })
  t.match(await ask('outside', 'dm:outside:outside'), { ttlMs: Number })
  const seen = await see('outside', 'never')
  t.same(
    seen.map(({ error }) => error?.code),
    [undefined, 'unavailable'],
  )
  await t.rejects(ask('ann', 'dm:ann:never'), { code: 'unavailable' })
  await t.rejects(ask('never', 'dm:ann:never'), { code: 'unavailable' })
  await t.rejects(ask('ann', 'dm:ben:outside'), { code: 'conversation_not_found' }, 'a stranger stays one')
  mysql.heal()
})

t.test('to whoever blocks somebody, nobody new may write: it cannot be told whom', async (t) => {
  await see('kim', 'lou', 'max')
  await block(deps, { user: 'kim', blocked: 'lou' })
  await t.rejects(ask('lou', 'dm:kim:lou'), { code: 'blocked' })
  t.match(await ask('max', 'dm:kim:max'), { ttlMs: Number })
  mysql.cut()
  await t.rejects(ask('lou', 'dm:kim:lou'), { code: 'unavailable' })
  await t.rejects(ask('max', 'dm:kim:max'), { code: 'unavailable' })
  t.match(await ask('kim', 'dm:kim:lou'), { ttlMs: Number }, 'a block is one way')
  mysql.heal()
  await unblock(deps.store, { user: 'kim', blocked: 'lou' })
  await until(async () => (await ask('lou', 'dm:kim:lou').catch(() => undefined)) !== undefined)
  mysql.cut()
  t.match(await ask('max', 'dm:kim:max'), { ttlMs: Number })
  mysql.heal()
})

t.test('what was done in another process before MySQL went away is heard, and believed', async (t) => {
  const watch = await watchRevocations({ redis, keys, keepMs: 1_000, log })
  t.after(() => watch.stop())
  watch.onUsers(keptUsers.forget)
  watch.onSends((_, blocker) => keptUsers.forget([blocker]))
  await see('pia', 'quin', 'rob')
  const another = { ...deps, keptUsers: createKeptUsers() }
  await block(another, { user: 'pia', blocked: 'quin' })
  await setUserDisabled(another, { user: 'rob', disabled: true })
  await until(() => keptUsers.get('pia') === undefined && keptUsers.get('rob') === undefined)
  mysql.cut()
  await t.rejects(ask('quin', 'dm:pia:quin'), { code: 'unavailable' })
  await t.rejects(ask('rob', 'dm:quin:rob'), { code: 'unavailable' })
  mysql.heal()
})

t.test('a refusal is not kept, for nobody is told that it is over', async (t) => {
  await see('sam', 'tom')
  await setUserDisabled(deps, { user: 'sam', disabled: true })
  await t.rejects(ask('sam', 'dm:sam:tom'), { code: 'user_disabled' })
  t.equal(keptUsers.get('sam'), undefined)
})

t.test('what was read before somebody was forgotten is not kept', async (t) => {
  const users = createKeptUsers()
  const una = { id: 'una', disabledAt: null, deletedAt: null, hasBlocks: false }
  const before = users.moment()
  users.forget(['una'])
  users.keep([una], before)
  t.equal(users.get('una'), undefined)
  users.keep([una], users.moment())
  t.same(users.get('una'), una)
})

t.end()
