/** Sending goes on while MySQL is away, for whoever may send. */
import { AppError } from '@tidings/protocol'
import t from 'tap'
import { login, register } from '../src/accounts.js'
import { block, unblock } from '../src/blocks.js'
import { createKeptUsers } from '../src/kept-users.js'
import { permits } from '../src/permit.js'
import { seeUsers, setUserDisabled } from '../src/users.js'
import { permit, until, world } from './world.js'

const { deps, mysql } = await world(t)
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

t.test('what was done in another process right before is heard before anything kept is believed', async (t) => {
  await see('pia', 'quin', 'rob')
  const another = { ...deps, keptUsers: createKeptUsers(async () => undefined) }
  await block(another, { user: 'pia', blocked: 'quin' })
  await setUserDisabled(another, { user: 'rob', disabled: true })
  mysql.cut()
  await t.rejects(ask('quin', 'dm:pia:quin'), { code: 'unavailable' })
  await t.rejects(ask('rob', 'dm:quin:rob'), { code: 'unavailable' })
  mysql.heal()
})

t.test('a MySQL that answers nothing holds up one call of a second at most', async (t) => {
  await see('vic', 'will', 'xena')
  mysql.freeze()
  t.match(await ask('vic', 'dm:vic:will'), { ttlMs: Number })
  const [known, unknown] = await permits(deps, {
    permits: [
      { user: 'will', conversation: 'dm:will:xena' },
      { user: 'will', conversation: 'dm:never:will' },
    ],
  })
  t.match(known, { value: { ttlMs: Number } }, 'beside somebody who is not known')
  t.match(unknown, { error: { code: 'unavailable' } })
  let asked = 0
  const answer = await keptUsers.ask(['vic', 'will'], async () => {
    asked++
    return { users: [] }
  })
  t.equal(answer, undefined)
  t.equal(asked, 0, 'it rests')
  mysql.heal()
  await until(async () => (await ask('vic', 'dm:never:vic').catch(({ code }) => code)) === 'user_not_found')
})

t.test('without MySQL and Redis nothing is known', async (t) => {
  const users = createKeptUsers(async () => {
    throw new AppError('unavailable')
  })
  users.keep([{ id: 'yan', disabledAt: null, deletedAt: null, hasBlocks: false }], users.moment())
  const read = async () => {
    throw new AppError('unavailable')
  }
  await t.rejects(users.ask(['yan'], read), { code: 'unavailable' })
  const bug = async () => {
    throw new Error('a bug')
  }
  await t.rejects(users.ask(['zoe'], bug), { message: 'a bug' })
})

t.test('a refusal is not kept, for nobody is told that it is over', async (t) => {
  await see('sam', 'tom')
  await setUserDisabled(deps, { user: 'sam', disabled: true })
  await t.rejects(ask('sam', 'dm:sam:tom'), { code: 'user_disabled' })
  t.throws(() => keptUsers.require('sam'), { code: 'unavailable' })
})

t.test('what was read before somebody was forgotten is not kept', async (t) => {
  const users = createKeptUsers(async () => undefined)
  const una = { id: 'una', disabledAt: null, deletedAt: null, hasBlocks: false }
  const before = users.moment()
  users.forget(['una'])
  users.keep([una], before)
  t.throws(() => users.require('una'), { code: 'unavailable' })
  users.keep([una], users.moment())
  t.same(users.require('una'), una)
})

t.end()
