/** Pushes to many: who is asked for, how many at once, and what becomes of each. */
import { AppError } from '@tidings/protocol'
import { createMetrics, stageMetrics } from '@tidings/service'
import type { Appended, AppendItem } from '@tidings/stream'
import t from 'tap'
import { createKnownUsers, createPushAcceptor, type Push } from '../src/index.js'
import { unscreened } from './unscreened.js'

const push: Push = {
  service: 'shop',
  type: 'system',
  content: '{}',
  clientId: 'k',
  ttlS: undefined,
  priority: 'normal',
  collapseKey: undefined,
  trace: '',
}

function setUp(outcome: (item: AppendItem) => Promise<Appended> | Appended = answered) {
  const items: AppendItem[] = []
  const indexed: string[] = []
  const admitted: boolean[] = []
  let [running, most, ids] = [0, 0, 0]
  const acceptor = createPushAcceptor({
    admit: (bulk) => void admitted.push(bulk),
    knownUsers: {
      refusals: async (users) =>
        new Map(users.filter((user) => user.startsWith('no')).map((user) => [user, new AppError('user_not_found')])),
    },
    indexConversation: (conversation) => void indexed.push(conversation),
    nextId: () => String(++ids),
    ...unscreened,
    appender: {
      async append(item) {
        items.push(item)
        most = Math.max(most, ++running)
        await new Promise(setImmediate)
        running--
        return outcome(item)
      },
    },
    metrics: stageMetrics(createMetrics('test', 'test'), 'accept'),
  })
  return { acceptor, items, indexed, admitted, most: () => most }
}

const answered = ({ id, sentAt }: AppendItem): Appended => ({
  ...{ id, sentAt, seq: 1, streamId: '1-1', generation: 1, partition: 0, duplicate: false },
})
const names = (count: number): string[] => Array.from({ length: count }, (_, i) => `u${i}`)

t.test('each user has an entry of the own feed, so many at once, and one who is named twice has one', async (t) => {
  const { acceptor, items, indexed, admitted, most } = setUp()
  const result = await acceptor.toUsers({ ...push, ttlS: 60, priority: 'high' }, [...names(1_000), 'u0', 'nobody'])
  t.match(result, { accepted: 1_000, duplicates: 0, refused: [{ user: 'nobody', error: { code: 'user_not_found' } }] })
  t.equal(most(), 256)
  t.same(admitted, [false], 'what is urgent counts as a single message')
  t.equal(new Set(items.map(({ conversation }) => conversation)).size, 1_000)
  t.equal(indexed.length, 1_000)
  const { sentAt, ...first } = items[0]!
  t.match(first, { conversation: 'feed:u0', from: 'service:shop', clientId: 'k', members: undefined })
  t.equal(first.options, `{"expiresAt":${sentAt + 60_000},"priority":"high"}`)
})

t.test('a store that is away ends a push; what one user is refused for does not', async (t) => {
  let down = false
  const { acceptor, items } = setUp((item) => {
    if (down) throw new AppError('unavailable')
    if (item.conversation === 'feed:u1') throw new AppError('idempotency_conflict')
    return answered(item)
  })
  t.match(await acceptor.toUsers(push, names(600)), { accepted: 599, refused: [{ user: 'u1' }] })
  down = true
  items.length = 0
  const { accepted, refused } = await acceptor.toUsers(push, names(600))
  t.same([accepted, refused.length, items.length], [0, 600, 256], 'the others are not tried')
  t.ok(refused.every(({ error }) => error.code === 'unavailable'))
})

t.test('pushes take turns, and the line is bounded', async (t) => {
  const { acceptor, most } = setUp()
  const runs = Array.from({ length: 70 }, () =>
    acceptor.toUsers(push, names(300)).then(
      ({ accepted }) => accepted,
      (error: AppError) => error.code,
    ),
  )
  const results = await Promise.all(runs)
  t.same([results.filter((one) => one === 300).length, results.filter((one) => one === 'overloaded').length], [64, 6])
  t.equal(most(), 256)
})

t.test('who exists is asked for once, all together; and goes on existing while nobody can tell', async (t) => {
  let now = 0
  const asked: string[][] = []
  let answer: (users: string[]) => string[] = (users) => users.filter((user) => user === 'nobody')
  const known = createKnownUsers(
    async (users) => {
      asked.push(users)
      return answer(users)
    },
    () => now,
  )
  const codes = async (...users: string[]) =>
    Object.fromEntries([...(await known.refusals(users))].map(([user, { code }]) => [user, code]))
  t.same(await codes('alice', 'nobody', 'bob'), { nobody: 'user_not_found' })
  t.same(await codes('alice', 'bob', 'carol'), {})
  t.same(asked, [['alice', 'nobody', 'bob'], ['carol']])
  now = 3_600_000
  answer = () => {
    throw new AppError('unavailable')
  }
  t.same(await codes('alice', 'dave'), { dave: 'unavailable' }, 'one who was known still is')
  answer = (users) => users
  known.forget(new Set(['bob']))
  t.same(await codes('bob'), { bob: 'user_not_found' }, 'one who has left is asked for again')
})
