import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import {
  claimWorkerId,
  type ListedSession,
  mirrorRoutes,
  type NodeInfo,
  ownPartitions,
  type Registry,
  readAll,
  type SessionListing,
} from '../src/index.js'
import { bench, log, sessionLister, until } from './etcd.js'

const info = (bootId: string): NodeInfo => ({ address: '127.0.0.1:1', version: '0', bootId })

t.test('a process is listed while it lives; its name is its own; a clean stop takes it off at once', async (t) => {
  const b = await bench(t)
  const watching = await b.registry()
  let seen: string[] = []
  await watching.watchNodes('logic', (nodes) => {
    seen = [...nodes.keys()]
  })
  const one = await b.registry()
  await one.announce('logic', 'logic-1', info('a'))
  await until('seen', () => seen.includes('logic-1'))
  const twin = await b.registry(2)
  await t.rejects(twin.announce('logic', 'logic-1', info('b')), { message: /TIDINGS_INSTANCE/ })
  await one.stop()
  await until('gone', () => seen.length === 0)
})

t.test('what is deleted under a living lease is listed again, and what nobody knows of goes', async (t) => {
  const b = await bench(t)
  const one = await b.registry(5, 50)
  await one.announce('connect', 'connect-1', info('a'))
  const lister = await sessionLister(one, 'connect-1')
  await lister.list({ user: 'alice', id: 's1', device: 'phone' })
  await lister.list({ user: 'alice', id: 's2', device: 'laptop' })
  const routes = await mirrorRoutes(await b.registry(), log)
  t.teardown(() => routes.stop())
  const kept = [...(await readAll(b.etcd, `/${b.namespace}/`)).all.keys()]
  t.equal(kept.length, 3)
  for (const key of kept) await b.etcd.delete().key(key).exec()
  await b.etcd.put(one.keys.session('alice', 'by hand')).value('null').exec()
  await lister.list({ user: 'alice', id: 's3', device: 'tablet' })
  lister.unlist('s3')
  await b.etcd.delete().key(one.keys.session('alice', 'by hand')).exec()
  await b.etcd.put(one.keys.session('bob', 's9')).value('{}').lease(one.lease.id).exec()
  const held = async (): Promise<string[]> => [...(await readAll(b.etcd, `/${b.namespace}/`)).all.keys()]
  await until('as it was', async () => (await held()).join() === kept.join())
  lister.unlist('s2')
  await until('one session is left', () => routes.sessions === 1)
  t.same([...routes.nodesOf('alice')], ['connect-1'], 'the end of one session takes no pushes from the other')
  await one.withdraw()
  lister.unlist('s1')
  await until('nothing is left', async () => (await held()).length === 0)
})

t.test('sessions: the mirror follows, and the newer session learns of the older one of its device', async (t) => {
  const b = await bench(t)
  const nodeA = await b.registry()
  const nodeB = await b.registry()
  const a = await sessionLister(nodeA, 'connect-1')
  const other = await sessionLister(nodeB, 'connect-2')
  t.same(await a.list({ user: 'bob', id: 's1', device: 'phone' }), [])
  const routes = await mirrorRoutes(await b.registry(), log)
  t.teardown(() => routes.stop())
  t.same([...routes.nodesOf('bob')], ['connect-1'], 'what was there before')
  const first = { node: 'connect-1', session: 's1', device: 'phone', began: 0 }
  t.same(await other.list({ user: 'bob', id: 's2', device: 'phone' }), [first])
  const second = { node: 'connect-2', session: 's2', device: 'phone', began: 0 }
  t.same(await other.list({ user: 'bob', id: 's3', device: 'laptop' }), [first, second], 'the oldest first')
  await until('both nodes', () => [...routes.nodesOf('bob')].length === 2)
  await a.unlist('s1')
  await other.unlist('s2')
  await until('one node', () => [...routes.nodesOf('bob')].join() === 'connect-2')
  await nodeB.stop()
  await until('nobody', () => routes.sessions === 0)
  t.same([...routes.nodesOf('bob')], [])
})

t.test('one owner per partition: shares move as workers come, go cleanly and die', async (t) => {
  const b = await bench(t)
  const held = new Map<string, Map<number, number>>()
  const worker = async (name: string) => {
    const registry = await b.registry(2)
    const mine = new Map<number, number>()
    held.set(name, mine)
    await registry.announce('task', name, info(name))
    const ownership = await ownPartitions({
      registry,
      group: 'push',
      partitions: 8,
      me: name,
      log,
      handlers: {
        raise: async () => undefined,
        own(partition, fence) {
          for (const [other, theirs] of held) t.notOk(other !== name && theirs.has(partition), 'never two owners')
          mine.set(partition, fence)
        },
        async release(partition) {
          mine.delete(partition)
        },
      },
    })
    return { registry, ownership, mine }
  }
  const one = await worker('task-1')
  await until('all eight', () => one.mine.size === 8)
  const fences = new Map(one.mine)
  const two = await worker('task-2')
  await until('four each', () => one.mine.size === 4 && two.mine.size === 4)
  for (const [partition, fence] of two.mine) t.ok(fence > fences.get(partition)!, 'the fence rises')
  await two.registry.update({ unable: ['persist'] })
  await two.registry.update({ unable: ['push', 'persist'] })
  await until('all eight', () => one.mine.size === 8 && two.mine.size === 0)
  await one.registry.update({ unable: ['push'] })
  await until('four each where nobody is able', () => one.mine.size === 4 && two.mine.size === 4)
  await one.registry.update({ unable: undefined })
  await until('all eight', () => one.mine.size === 8)
  await two.registry.update({ unable: undefined })
  await until('four each again', () => one.mine.size === 4 && two.mine.size === 4)
  t.notMatch((await b.etcd.get(two.registry.keys.node('task', 'task-2')).string()) ?? '', /unable/)
  await two.ownership.stop()
  await two.registry.stop()
  held.delete('task-2')
  await until('all eight again', () => one.mine.size === 8)
  const three = await worker('task-3')
  await until('four each', () => one.mine.size === 4 && three.mine.size === 4)
  // Dies: its lease ends without a word.
  held.delete('task-1')
  await b.etcd.leaseClient.leaseRevoke({ ID: one.registry.lease.id })
  await one.ownership.stop()
  await one.registry.stop()
  await until('taken over', () => three.mine.size === 8)
  await three.ownership.stop()
})

t.test(
  'a refused owner whom etcd names goes on above the refuser’s fence, and a taken fence is not used',
  async (t) => {
    const b = await bench(t)
    const registry = await b.registry(2)
    await registry.announce('task', 'task-1', info('a'))
    const mine = new Map<number, number>()
    const raised: number[] = []
    const ownership = await ownPartitions({
      registry,
      group: 'push',
      partitions: 1,
      me: 'task-1',
      log,
      handlers: {
        // Somebody has had 5,000,000 already; the second call is answered by nobody.
        async raise(_partition, fence) {
          raised.push(fence)
          if (raised.length === 2) throw new Error('Redis is away')
          return fence > 5_000_000 ? undefined : 5_000_000
        },
        own: (partition, fence) => mine.set(partition, fence),
        release: async (partition) => void mine.delete(partition),
      },
    })
    await until('above the fence of before', () => mine.get(0) === 5_000_001)
    ownership.refused(0, 5_000_001, 9_000_000)
    await until('above the refuser', () => mine.get(0) === 9_000_001)
    const key = registry.keys.partition('push', 0)
    t.same(JSON.parse((await b.etcd.get(key))!), { owner: 'task-1', fence: 9_000_001 }, 'etcd lists owner and fence')
    await ownership.stop()
    t.equal(await b.etcd.get(key), null, 'a clean stop takes the key off at once')
    t.equal(mine.size, 0)
  },
)

t.test('worker ids differ, and a clean stop frees them', async (t) => {
  const b = await bench(t)
  const registry = await b.registry()
  const ids = await Promise.all(Array.from({ length: 20 }, (_, i) => claimWorkerId(registry, `api-${i}`, log)))
  t.equal(new Set(ids.map(({ n }) => n)).size, 20)
  t.ok(ids.every((id) => id.n >= 0 && id.n < 1024 && id.fresh()))
  await Promise.all(ids.map((id) => id.stop()))
  t.equal((await readAll(b.etcd, `/${b.namespace}/workers/`)).all.size, 0)
})

t.test('a session that comes and goes in one breath harms no other, and leaves nothing behind', async (t) => {
  const b = await bench(t)
  const registry = await b.registry()
  const lister = await sessionLister(registry, 'connect-1')
  t.teardown(() => lister.stop())
  const lists = Array.from({ length: 50 }, (_, i) => lister.list({ user: `u${i}`, id: `s${i}`, device: 'd' }))
  for (let i = 0; i < 50; i += 2) lister.unlist(`s${i}`)
  await Promise.all(lists)
  await until('only those that stayed', async () => {
    const { all } = await readAll(b.etcd, `/${b.namespace}/users/`)
    return lister.waiting === 0 && all.size === 25
  })
})

/** The same registry, but that each transaction of its etcd begins with this. */
function beforeTransactions(registry: Registry, run: () => unknown): Registry {
  const etcd = Object.create(registry.etcd, {
    if: {
      value(...condition: Parameters<Registry['etcd']['if']>) {
        const transaction = registry.etcd.if(...condition)
        const commit = transaction.commit.bind(transaction)
        transaction.commit = async () => {
          await run()
          return await commit()
        }
        return transaction
      },
    },
  }) as Registry['etcd']
  return Object.create(registry, { etcd: { value: etcd } }) as Registry
}

t.test('sessions that come one after the other share their transactions', async (t) => {
  const b = await bench(t)
  const registry = await b.registry()
  let transactions = 0
  const counted = beforeTransactions(registry, () => transactions++)
  const lister = await sessionLister(counted, 'connect-1')
  t.teardown(() => lister.stop())
  const lists: Promise<unknown>[] = []
  for (let i = 0; i < 50; i++) {
    lists.push(lister.list({ user: `u${i}`, id: `s${i}`, device: 'd' }))
    // A transaction takes less than this.
    await delay(10)
  }
  t.same(await Promise.all(lists), Array(50).fill([]))
  const { all } = await readAll(b.etcd, `/${b.namespace}/users/`)
  t.same([all.size, lister.waiting, lister.behind], [50, 0, false])
  t.ok(transactions <= 25, `${transactions} transactions`)
})

t.test('of sessions that one transaction lists, the one that came first is the older one', async (t) => {
  const b = await bench(t)
  const lister = await sessionLister(await b.registry(), 'connect-1')
  t.teardown(() => lister.stop())
  // The names of the keys say the opposite.
  const lists = ['s4', 's3', 's2', 's1'].map((id) => lister.list({ user: 'alice', id, device: `d-${id}` }))
  const older = (await Promise.all(lists)).map((each) => each.map(({ session }) => session))
  t.same(older, [[], ['s4'], ['s4', 's3'], ['s4', 's3', 's2']])
})

t.test('who waits when a lister stops is answered, and who comes afterwards', async (t) => {
  const b = await bench(t)
  const registry = await b.registry()
  let letPass = (): void => undefined
  const gate = new Promise<void>((resolve) => {
    letPass = resolve
  })
  let underWay = 0
  const gated = beforeTransactions(registry, () => {
    underWay++
    return gate
  })
  const lister = await sessionLister(gated, 'connect-1')
  const first = lister.list({ user: 'alice', id: 's1', device: 'd' })
  await until('the first is on its way', () => underWay === 1)
  const told = t.rejects(lister.list({ user: 'bob', id: 's2', device: 'd' }), { code: 'unavailable' })
  await lister.stop()
  letPass()
  t.same(await first, [])
  await told
  await t.rejects(lister.list({ user: 'carol', id: 's3', device: 'd' }), { code: 'unavailable' })
})

t.test('who is listed late, or again, learns of the others; who is listed at once was told then', async (t) => {
  const b = await bench(t)
  const told: [node: string, session: string, others: string[]][] = []
  const keep =
    (node: string) =>
    ({ id }: SessionListing, others: readonly ListedSession[]): void => {
      told.push([node, id, others.map(({ session, device, began }) => `${session} ${device} ${began}`)])
    }
  const one = await b.registry()
  const here = await sessionLister(one, 'connect-1', { listedLate: keep('connect-1') })
  await here.list({ user: 'alice', id: 's1', device: 'phone' })
  let away = true
  const two = beforeTransactions(await b.registry(), () => {
    if (away) throw new Error('etcd is away')
  })
  const there = await sessionLister(two, 'connect-2', { listedLate: keep('connect-2') })
  t.teardown(() => there.stop())
  await t.rejects(there.list({ user: 'alice', id: 's2', device: 'phone', began: 7 }), { code: 'unavailable' })
  await t.rejects(there.list({ user: 'alice', id: 's3', device: 'gone' }), { code: 'unavailable' })
  there.unlist('s3')
  away = false
  await until('it is listed', () => told.length > 0)
  t.same(told, [['connect-2', 's2', ['s1 phone 0']]])
  await b.etcd.leaseClient.leaseRevoke({ ID: one.lease.id })
  await until('it is listed again', () => told.length === 2)
  t.same(told[1], ['connect-1', 's1', ['s2 phone 7']])
})

t.test('what is written while etcd says what it holds is not taken for lost', async (t) => {
  const b = await bench(t)
  let transactions = 0
  let ask = (): ((held: ReadonlySet<string>) => void) => () => undefined
  const counted = beforeTransactions(await b.registry(), () => transactions++)
  const onCheck: Registry['onCheck'] = (check) => {
    ask = check
  }
  const registry = Object.create(counted, { onCheck: { value: onCheck } }) as Registry
  const lister = await sessionLister(registry, 'connect-1')
  t.teardown(() => lister.stop())
  const compare = ask()
  await lister.list({ user: 'alice', id: 's1', device: 'd' })
  compare(new Set())
  t.same([lister.waiting, transactions], [0, 1], 'the answer is older than the listing')
  ask()(new Set())
  t.equal(lister.waiting, 1, 'by now it should be there')
  await until('listed again', () => lister.waiting === 0)
})

t.test('when etcd does not answer, everyone who waits is told at the first failure, not batch by batch', async (t) => {
  const b = await bench(t)
  const registry = await b.registry()
  let attempts = 0
  let isAway = true
  const away = beforeTransactions(registry, () => {
    attempts++
    if (isAway) throw new Error('etcd is away')
  })
  const lister = await sessionLister(away, 'connect-1')
  t.teardown(() => lister.stop())
  const lists = Array.from({ length: 150 }, (_, i) => lister.list({ user: `u${i}`, id: `s${i}`, device: 'd' }))
  const told = await Promise.allSettled(lists)
  t.ok(told.every(({ status }) => status === 'rejected'))
  t.equal(attempts, 1)
  t.same([lister.waiting, lister.behind], [150, true], 'all are listed when it is back')
  isAway = false
  await lister.list({ user: 'alice', id: 'new', device: 'd' })
  t.equal(lister.waiting, 91, 'who opens now does not come behind them')
  await until('all are listed', () => lister.waiting === 0)
})

t.test(
  'while etcd takes nothing, ended sessions that wait to be taken off are bounded: new ones are refused',
  async (t) => {
    const b = await bench(t)
    const registry = await b.registry()
    let away = true
    const silent = beforeTransactions(registry, () => {
      if (away) throw new Error('etcd is away')
    })
    const lister = await sessionLister(silent, 'connect-1', { maxEnded: 10 })
    t.teardown(() => lister.stop())
    const comeAndGo = async (session: string): Promise<void> => {
      await t.rejects(lister.list({ user: 'alice', id: session, device: 'd' }), { code: 'unavailable' })
      lister.unlist(session)
    }
    const stays = lister.list({ user: 'bob', id: 'stays', device: 'd' })
    await t.rejects(stays, { code: 'unavailable' })
    await Promise.all(Array.from({ length: 10 }, (_, i) => comeAndGo(`s${i}`)))
    await t.rejects(lister.list({ user: 'carol', id: 'x', device: 'd' }), { code: 'overloaded' })
    t.equal(lister.waiting, 11)
    away = false
    const listed = async () => [...(await readAll(b.etcd, `/${b.namespace}/users/`)).all.keys()]
    await until('all is written', async () => lister.waiting === 0 && (await listed()).length > 0)
    t.same(await listed(), [`/${b.namespace}/users/bob/stays`], 'the refused one was never listed')
    await lister.list({ user: 'carol', id: 'x', device: 'd' })
  },
)
