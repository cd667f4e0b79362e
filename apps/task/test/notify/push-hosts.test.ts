import t from 'tap'
import { createPushHosts, IN_ALL } from '../../src/notify/push-hosts.js'

/** How many more the host may have now. */
function taken(hosts: ReturnType<typeof createPushHosts>, host: string, now = 0): number {
  for (let n = 0; ; n++) if (hosts.enter(host, now) > 0) return n
}

t.test('a host has its share, and the more hosts are waited for, the less', async (t) => {
  const hosts = createPushHosts()
  t.equal(taken(hosts, 'one'), 64)
  t.equal(hosts.enter('one', 0), 1_000, 'in a second it may ask again')
  hosts.leave('one', true, 0)
  t.equal(taken(hosts, 'one'), 1)
  let all = 64
  for (let i = 0; i < 100; i++) {
    const n = taken(hosts, `h${i}`)
    t.ok(n >= 1, 'there is room for one more')
    all += n
  }
  t.ok(taken(hosts, 'h5') === 0 && taken(hosts, 'one') === 0, 'those who have more get no more')
  t.comment(`${all} of ${IN_ALL}`)
})

t.test('a host that fails is left alone for a while, then asked once', async (t) => {
  const hosts = createPushHosts(() => 1)
  for (let i = 0; i < 5; i++) hosts.enter('bad', 0)
  for (let i = 0; i < 5; i++) hosts.leave('bad', false, 0)
  t.equal(hosts.enter('bad', 0), 1_000)
  t.equal(hosts.enter('good', 0), 0)
  t.equal(hosts.enter('bad', 1_000), 0)
  t.equal(hosts.enter('bad', 1_000), 1_000, 'one at a time')
  hosts.leave('bad', false, 1_000)
  t.equal(hosts.enter('bad', 1_000), 2_000)
  t.equal(hosts.enter('bad', 3_000), 0)
  hosts.leave('bad', true, 3_000)
  t.equal(taken(hosts, 'bad', 3_000), 64, 'once it is well it has its share')
})
