import t from 'tap'
import { createLiveDevices } from '../src/index.js'
import { bench, sessionLister, until } from './etcd.js'

t.test('devices with a live session are counted, on whatever node; each device once', async (t) => {
  const b = await bench(t)
  const [here, there] = [await b.registry(), await b.registry()]
  const one = await sessionLister(here, 'connect-1')
  const two = await sessionLister(there, 'connect-2')
  await one.list({ user: 'alice', id: 's1', device: 'phone' })
  await two.list({ user: 'alice', id: 's2', device: 'laptop' })
  await two.list({ user: 'alice', id: 's3', device: 'phone' })
  const bobs = { user: 'bob', id: 's4', device: 'phone' }
  await one.list(bobs)
  const live = createLiveDevices(await b.registry())
  t.same(
    await live.of(['alice', 'nobody', 'bob', 'alic', 'alice']),
    [2, 0, 1, 0, 2],
    'a name that begins alike is another one',
  )
  one.unlist(bobs.id)
  await until('it is seen within a second or so', async () => (await live.of(['bob']))[0] === 0)
})

t.test('many are read together, and who is asked for again shortly is not read again', async (t) => {
  const b = await bench(t)
  const registry = await b.registry()
  const lister = await sessionLister(registry, 'connect-1')
  await lister.list({ user: 'u7', id: 's1', device: 'phone' })
  let reads = 0
  const counted = {
    keys: registry.keys,
    etcd: new Proxy(registry.etcd, {
      get(target, name) {
        if (name === 'if') reads++
        const value = Reflect.get(target, name) as unknown
        return typeof value === 'function' ? value.bind(target) : value
      },
    }),
  }
  const live = createLiveDevices(counted)
  const users = Array.from({ length: 250 }, (_, i) => `u${i}`)
  const [all, one] = await Promise.all([live.of(users), live.of(['u7'])])
  t.same([all.filter((devices) => devices > 0).length, one], [1, [1]])
  t.equal(reads, 3)
  await live.of(users)
  t.equal(reads, 3)
})

t.test('etcd away: nobody is called offline, and it is asked again', async (t) => {
  const b = await bench(t)
  const registry = await b.registry()
  let away = true
  const live = createLiveDevices({
    keys: registry.keys,
    etcd: new Proxy(registry.etcd, {
      get(target, name) {
        if (name === 'if' && away) throw new Error('etcd is away')
        const value = Reflect.get(target, name) as unknown
        return typeof value === 'function' ? value.bind(target) : value
      },
    }),
  })
  await t.rejects(live.of(['alice']), { code: 'unavailable' })
  away = false
  t.same(await live.of(['alice']), [0])
})
