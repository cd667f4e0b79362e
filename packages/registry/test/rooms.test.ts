import t from 'tap'
import { createRoomNotices } from '../src/index.js'
import { bench, log, until } from './etcd.js'

t.test('who watches hears of each change of a room, the last one last; and etcd forgets it by itself', async (t) => {
  const b = await bench(t)
  const registry = await b.registry()
  const seen: string[] = []
  const watcher = await b.etcd.watch().prefix(registry.keys.rooms()).create()
  watcher.on('put', (kv) => seen.push(`${kv.key} ${kv.value}`))
  t.teardown(() => watcher.cancel())
  const notices = createRoomNotices(registry, log, 2)
  const puts = [1, 2, 3].map((version) => notices.put('abcdefgh12345678', { version, joined: ['alice'], left: [] }))
  await Promise.all(puts)
  await until('all are heard of', () => seen.length === 3)
  const key = `/${b.namespace}/rooms/abcdefgh12345678`
  t.same(
    seen,
    [1, 2, 3].map((version) => `${key} {"version":${version},"joined":["alice"],"left":[]}`),
  )
  await until('it is forgotten', async () => (await b.etcd.get(key)) === null)
  // Under a new lease by then.
  await notices.put('abcdefgh12345678', { version: 4, joined: [], left: [], ended: true })
  t.same(await b.etcd.get(key).json(), { version: 4, joined: [], left: [], ended: true })
  await notices.stop()
})

t.test(
  'a lease that etcd does not know any more is granted anew, and what could not be told fails nobody',
  async (t) => {
    const b = await bench(t)
    const registry = await b.registry()
    const notices = createRoomNotices(registry, log)
    await notices.put('abcdefgh12345678', { version: 1, joined: [], left: [] })
    const { leases } = await b.etcd.leaseClient.leaseLeases()
    for (const { ID } of leases) {
      const { keys } = await b.etcd.leaseClient.leaseTimeToLive({ ID, keys: true })
      if (keys.some((key) => key.toString().startsWith(registry.keys.rooms()))) {
        await b.etcd.leaseClient.leaseRevoke({ ID })
      }
    }
    await notices.put('abcdefgh12345678', { version: 2, joined: [], left: [] })
    t.equal(await b.etcd.get(registry.keys.room('abcdefgh12345678')), null, 'this one is lost')
    await notices.put('abcdefgh12345678', { version: 3, joined: [], left: [] })
    t.match(await b.etcd.get(registry.keys.room('abcdefgh12345678')).json(), { version: 3 })
    await notices.stop()
  },
)

t.end()
