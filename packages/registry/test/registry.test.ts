import type { EventEmitter } from 'node:events'
import t from 'tap'
import {
  claimWorkerId,
  createSessionLister,
  mirrorRoutes,
  type NodeInfo,
  ownPartitions,
  readAll,
  readPages,
} from '../src/index.js'
import { bench, log, until } from './etcd.js'

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

t.test('a lease that etcd lost is granted anew and everything is listed again', async (t) => {
  const b = await bench(t)
  const one = await b.registry(2)
  await one.announce('connect', 'connect-1', info('a'))
  const lister = await createSessionLister(one, 'connect-1', log)
  await lister.list({ user: 'alice', id: 's1', device: 'phone' })
  const before = one.lease.id
  await b.etcd.leaseClient.leaseRevoke({ ID: before })
  t.equal((await readAll(b.etcd, `/${b.namespace}/`)).all.size, 0)
  await until('listed again', async () => (await readAll(b.etcd, `/${b.namespace}/`)).all.size === 2)
  t.not(one.lease.id, before)
})

t.test('a process whose lease was lost before it is listed is listed with the next one', async (t) => {
  const b = await bench(t)
  const one = await b.registry(2)
  const before = one.lease.id
  await b.etcd.leaseClient.leaseRevoke({ ID: before })
  await one.announce('api', 'api-1', info('a'))
  t.not(one.lease.id, before)
  t.same([...(await readAll(b.etcd, `/${b.namespace}/`)).all.keys()], [`/${b.namespace}/nodes/api/api-1`])
})

t.test('who stops while a new lease is being granted leaves none behind', async (t) => {
  const b = await bench(t)
  const registry = await b.registry(2)
  const lost = registry.lease.id
  const leases = async (): Promise<string[]> =>
    (await b.etcd.leaseClient.leaseLeases()).leases.map(({ ID }) => String(ID)).sort()
  const grant = b.etcd.lease.bind(registry.etcd)
  const granted: string[] = []
  let stopping: Promise<void> | undefined
  registry.etcd.lease = (...args) => {
    const lease = grant(...args)
    const wait = lease.grant.bind(lease)
    // The stop comes while etcd is being asked.
    lease.grant = async () => {
      const id = wait()
      stopping ??= registry.lease.revoke()
      granted.push(await id)
      return id
    }
    return lease
  }
  await b.etcd.leaseClient.leaseRevoke({ ID: lost })
  await until('another one was granted', () => granted.length > 0)
  await stopping
  await until('it is ended', async () => !(await leases()).includes(granted[0]!))
})

t.test('what is deleted under a living lease is listed again, and what nobody knows of goes', async (t) => {
  const b = await bench(t)
  const one = await b.registry(5, 50)
  await one.announce('connect', 'connect-1', info('a'))
  const lister = await createSessionLister(one, 'connect-1', log)
  await lister.list({ user: 'alice', id: 's1', device: 'phone' })
  await lister.list({ user: 'alice', id: 's2', device: 'laptop' })
  const routes = await mirrorRoutes(await b.registry(), log)
  t.teardown(() => routes.stop())
  const kept = [...(await readAll(b.etcd, `/${b.namespace}/`)).all.keys()]
  t.equal(kept.length, 3)
  for (const key of kept) await b.etcd.delete().key(key).exec()
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
  const a = await createSessionLister(nodeA, 'connect-1', log)
  const other = await createSessionLister(nodeB, 'connect-2', log)
  t.same(await a.list({ user: 'bob', id: 's1', device: 'phone' }), [])
  const routes = await mirrorRoutes(await b.registry(), log)
  t.teardown(() => routes.stop())
  t.same([...routes.nodesOf('bob')], ['connect-1'], 'what was there before')
  const first = { node: 'connect-1', session: 's1', device: 'phone' }
  t.same(await other.list({ user: 'bob', id: 's2', device: 'phone' }), [first])
  const second = { node: 'connect-2', session: 's2', device: 'phone' }
  t.same(await other.list({ user: 'bob', id: 's3', device: 'laptop' }), [first, second], 'the oldest first')
  await until('both nodes', () => [...routes.nodesOf('bob')].length === 2)
  await a.unlist('s1')
  await other.unlist('s2')
  await until('one node', () => [...routes.nodesOf('bob')].join() === 'connect-2')
  await nodeB.stop()
  await until('nobody', () => routes.sessions === 0)
  t.same([...routes.nodesOf('bob')], [])
})

t.test('all keys are read, whatever they begin with, in pages of any size', async (t) => {
  const b = await bench(t)
  const root = `/${b.namespace}/users/`
  const users = ['a', 'aa', 'ab', 'b', 'zoë', '🙂', '~', 'user-', ...Array.from({ length: 300 }, (_, i) => `user-${i}`)]
  const wanted = [...users, ...Array.from({ length: 60 }, (_, i) => `x-${'y'.repeat(i)}`)].map(
    (user) => `${root}${user}/s`,
  )
  for (let i = 0; i < wanted.length; i += 100)
    await b.etcd
      .if('-', 'Version', '>', -1)
      .then(...wanted.slice(i, i + 100).map((key) => b.etcd.put(key).value(key)))
      .commit()
  await b.etcd.put(`/${b.namespace}/usert`).value('not below it')
  for (const most of [1, 3, 7, 50, 5_000]) {
    const found = new Map<string, string>()
    let told = 0
    const tell = (key: string, { value }: { value: string }): void => {
      told++
      found.set(key, value)
    }
    await readPages(b.etcd, root, tell, most)
    t.same([...found.keys()].sort(), [...wanted].sort(), `${most} a page`)
    t.ok([...found].every(([key, value]) => key === value) && told === wanted.length, 'each once')
  }
  t.equal((await readAll(b.etcd, `${root}nobody/`)).all.size, 0)
})

t.test('a mirror whose watch broke reads all again, and is as before for who asks meanwhile', async (t) => {
  const b = await bench(t)
  const node = await b.registry()
  const lister = await createSessionLister(node, 'connect-1', log)
  t.teardown(() => lister.stop())
  await lister.list({ user: 'alice', id: 's1', device: 'phone' })
  const bobs = { user: 'bob', id: 's2', device: 'phone' }
  await lister.list(bobs)
  const registry = await b.registry()
  // Pages come when they are let through, and the watch ends when it is told to.
  const watchers: EventEmitter[] = []
  let letThrough: (() => void) | undefined
  let held: Promise<void> | undefined
  const etcd = Object.create(registry.etcd, {
    watch: {
      value() {
        const builder = registry.etcd.watch()
        const watcher = builder.watcher.bind(builder)
        builder.watcher = () => {
          const made = watcher()
          watchers.push(made)
          return made
        }
        return builder
      },
    },
    getAll: {
      value() {
        const query = registry.etcd.getAll()
        const exec = query.exec.bind(query)
        query.exec = async () => {
          await held
          return exec()
        }
        return query
      },
    },
  }) as typeof registry.etcd
  const routes = await mirrorRoutes(Object.create(registry, { etcd: { value: etcd } }), log)
  t.teardown(() => routes.stop())
  t.same([...routes.nodesOf('alice')], ['connect-1'])
  held = new Promise((resolve) => {
    letThrough = resolve
  })
  watchers[0]!.emit('disconnected', new Error('cut'))
  lister.unlist(bobs.id)
  await lister.list({ user: 'carol', id: 's3', device: 'phone' })
  await until('bob is off', async () => (await readAll(b.etcd, `/${b.namespace}/users/`)).all.size === 2)
  t.same([...routes.nodesOf('alice')], ['connect-1'], 'what was known holds while it is read')
  t.same([...routes.nodesOf('bob')], ['connect-1'])
  letThrough!()
  await until('read again', () => routes.users === 2 && [...routes.nodesOf('carol')].length === 1)
  t.same([...routes.nodesOf('bob')], [], 'what did not come is gone')
  t.same([...routes.nodesOf('alice')], ['connect-1'])
  await lister.list({ user: 'bob', id: 's4', device: 'phone' })
  await until('the new watch works', () => routes.users === 3)
})

t.test('who stops a mirror while it reads all again leaves no watch behind', async (t) => {
  const b = await bench(t)
  const registry = await b.registry()
  const watchers: EventEmitter[] = []
  const { watch, getAll } = registry.etcd
  registry.etcd.watch = () => {
    const builder = watch.call(registry.etcd)
    const make = builder.watcher.bind(builder)
    builder.watcher = () => {
      const made = make()
      watchers.push(made)
      return made
    }
    return builder
  }
  await registry.watchNodes('logic', () => undefined)
  let stopped: Promise<void> | undefined
  let read: Promise<unknown> | undefined
  registry.etcd.getAll = () => {
    const query = getAll.call(registry.etcd)
    const exec = query.exec.bind(query)
    query.exec = () => {
      const answer = exec()
      read = answer
      stopped ??= registry.stop()
      return answer
    }
    return query
  }
  watchers[0]!.emit('disconnected', new Error('cut'))
  await until('it reads again', () => read)
  await read!.catch(() => undefined)
  await stopped
  t.equal(watchers.length, 1)
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
  const lister = await createSessionLister(registry, 'connect-1', log)
  t.teardown(() => lister.stop())
  const lists = Array.from({ length: 50 }, (_, i) => lister.list({ user: `u${i}`, id: `s${i}`, device: 'd' }))
  for (let i = 0; i < 50; i += 2) lister.unlist(`s${i}`)
  await Promise.all(lists)
  await until('only those that stayed', async () => {
    const { all } = await readAll(b.etcd, `/${b.namespace}/users/`)
    return lister.waiting === 0 && all.size === 25
  })
})

t.test('when etcd does not answer, everyone who waits is told at the first failure, not batch by batch', async (t) => {
  const b = await bench(t)
  const registry = await b.registry()
  let attempts = 0
  const etcd = Object.create(registry.etcd, {
    if: {
      value() {
        attempts++
        throw new Error('etcd is away')
      },
    },
  }) as typeof registry.etcd
  const lister = await createSessionLister(Object.create(registry, { etcd: { value: etcd } }), 'connect-1', log)
  t.teardown(() => lister.stop())
  const lists = Array.from({ length: 150 }, (_, i) => lister.list({ user: `u${i}`, id: `s${i}`, device: 'd' }))
  const told = await Promise.allSettled(lists)
  t.ok(told.every(({ status }) => status === 'rejected'))
  t.equal(attempts, 1)
  t.equal(lister.waiting, 150, 'all are listed when it is back')
})

t.test(
  'while etcd takes nothing, ended sessions that wait to be taken off are bounded: new ones are refused',
  async (t) => {
    const b = await bench(t)
    const registry = await b.registry()
    let away = true
    const etcd = Object.create(registry.etcd, {
      if: {
        value(...args: Parameters<typeof registry.etcd.if>) {
          if (away) throw new Error('etcd is away')
          return registry.etcd.if(...args)
        },
      },
    }) as typeof registry.etcd
    const lister = await createSessionLister(Object.create(registry, { etcd: { value: etcd } }), 'connect-1', log, 10)
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
