/** What a process holds of etcd: its lease, and copies of what is listed. */
import type { EventEmitter } from 'node:events'
import t from 'tap'
import { mirrorRoutes, type NodeInfo, readAll, readPages } from '../src/index.js'
import { bench, log, sessionLister, until } from './etcd.js'

const info = (bootId: string): NodeInfo => ({ address: '127.0.0.1:1', version: '0', bootId })

t.test('a lease that etcd lost is granted anew and everything is listed again', async (t) => {
  const b = await bench(t)
  const one = await b.registry(2)
  await one.announce('connect', 'connect-1', info('a'))
  const lister = await sessionLister(one, 'connect-1')
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
  const lister = await sessionLister(node, 'connect-1')
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
