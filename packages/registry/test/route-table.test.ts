import { createChances } from '@tidings/service/simulation'
import t from 'tap'
import { RouteTable } from '../src/index.js'

/** The same in maps: user to session to node. */
class Model {
  readonly users = new Map<string, Map<string, string>>()

  set(user: string, session: string, node: string): void {
    this.users.set(user, (this.users.get(user) ?? new Map<string, string>()).set(session, node))
  }

  delete(user: string, session: string): void {
    const sessions = this.users.get(user)
    if (sessions?.delete(session) && sessions.size === 0) this.users.delete(user)
  }

  nodesOf(user: string): string {
    return [...new Set(this.users.get(user)?.values())].sort().join()
  }

  get sessions(): number {
    return [...this.users.values()].reduce((sum, { size }) => sum + size, 0)
  }
}

const found = (table: RouteTable, user: string): string => [...table.nodesOf(user)].sort().join()

t.test('a user is where his sessions are, each node once', async (t) => {
  const table = new RouteTable()
  t.same(table.nodesOf('bob'), [])
  table.set('bob', 's1', 'connect-1')
  t.same(table.nodesOf('bob'), ['connect-1'])
  table.set('bob', 's2', 'connect-1')
  t.same(table.nodesOf('bob'), ['connect-1'], 'two sessions on one node')
  table.delete('bob', 's1')
  t.same(table.nodesOf('bob'), ['connect-1'], 'the end of one takes no pushes from the other')
  table.set('bob', 's2', 'connect-2')
  t.same(table.nodesOf('bob'), ['connect-2'], 'listed by another node')
  table.set('bob', 's3', 'connect-1')
  table.set('bob', 's4', 'connect-3')
  t.equal(found(table, 'bob'), 'connect-1,connect-2,connect-3')
  t.same({ sessions: table.sessions, users: table.users }, { sessions: 3, users: 1 })
  t.same(table.nodesOf('Bob'), [], 'ids are compared byte for byte')
  for (const session of ['s1', 's2', 's3', 's4', 's4']) table.delete('bob', session)
  t.same(table.nodesOf('bob'), [])
  t.same({ sessions: table.sessions, users: table.users }, { sessions: 0, users: 0 })
})

t.test('whatever comes and goes, it says the same as maps do', async (t) => {
  const seed = Number(process.env.TEST_SEED ?? 20_261_121)
  t.comment(`seed ${seed}`)
  const { below, happens } = createChances(seed)
  const table = new RouteTable()
  const model = new Model()
  // It grows to several thousand sessions and shrinks to none, again and again.
  for (let step = 0; step < 120_000; step++) {
    const user = `user-${below(4_000)}`
    const session = `s${below(3)}`
    const growing = Math.floor(step / 30_000) % 2 === 0
    if (happens(growing ? 0.8 : 0.2)) {
      const node = `connect-${below(12)}-${growing ? 0 : 1}`
      table.set(user, session, node)
      model.set(user, session, node)
    } else {
      table.delete(user, session)
      model.delete(user, session)
    }
    const other = `user-${below(4_000)}`
    if (found(table, other) !== model.nodesOf(other)) {
      t.equal(found(table, other), model.nodesOf(other), `${other} after step ${step}`)
      return
    }
  }
  t.equal(table.sessions, model.sessions)
  t.equal(table.users, model.users.size)
  const wrong = Array.from({ length: 4_000 }, (_, i) => `user-${i}`).filter(
    (user) => found(table, user) !== model.nodesOf(user),
  )
  t.same(wrong, [])
  for (const [user, sessions] of model.users) for (const session of sessions.keys()) table.delete(user, session)
  t.same({ sessions: table.sessions, users: table.users }, { sessions: 0, users: 0 })
})

t.test('names that differ in little are not taken for each other', async (t) => {
  const table = new RouteTable()
  const name = (i: number): string => `user-${String(i).padStart(9, '0')}`
  for (let i = 0; i < 200_000; i++) table.set(name(i), 's', `connect-${i % 7}`)
  t.equal(table.users, 200_000)
  const wrong = Array.from({ length: 200_000 }, (_, i) => i).filter((i) => found(table, name(i)) !== `connect-${i % 7}`)
  t.same(wrong, [])
  const strangers = Array.from({ length: 200_000 }, (_, i) => name(i + 200_000)).filter((user) => found(table, user))
  t.same(strangers, [])
})

t.test('names of nodes that are gone are forgotten', async (t) => {
  const table = new RouteTable()
  for (let i = 0; i < 100_000; i++) {
    table.set('bob', 's1', `connect-${i}`)
    table.set('carol', `s${i}`, `other-${i}`)
    table.delete('carol', `s${i}`)
  }
  t.same(table.nodesOf('bob'), ['connect-99999'])
  t.same(table.nodesOf('carol'), [])
})
