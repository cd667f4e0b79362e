/** Rows 34 to 37: etcd is away, hangs, forgets, or loses what hangs on a lease. */
import type { LinkProxy } from '../cluster/proxy.js'
import { within } from '../until.js'
import type { Fault, FaultContext } from './fault.js'

const prefixOf = (c: FaultContext, what: string): string => `/${c.cluster.namespace}/${what}/`
const heldBy = (links: readonly LinkProxy[]): number => links.reduce((sum, { counters }) => sum + counters.held, 0)

/** Has push finished with everything in the conversation's partition? */
async function isPushed({ cluster: { redis, keys } }: FaultContext, conv: string): Promise<boolean> {
  const stream = keys.messages(keys.partitionOf(conv))
  const groups = (await redis.xinfo('GROUPS', stream)) as unknown[][]
  const push = groups.find((row) => row[row.indexOf('name') + 1] === 'push')
  if (!push) return false
  return Number(push[push.indexOf('pending') + 1]) === 0 && Number(push[push.indexOf('lag') + 1]) === 0
}

export const etcdFaults: Fault[] = [
  {
    row: '34',
    name: 'etcd killed, away, and started again',
    boundMs: 30_000,
    available: true,
    async run(c) {
      const { etcd } = c.cluster.stores
      const { pid } = etcd
      await etcd.kill()
      await c.hold(12_000)
      await etcd.restart()
      if (etcd.pid !== pid) c.bit(`etcd was pid ${pid} and is ${etcd.pid}`)
    },
  },
  {
    row: '34b',
    name: 'workers hear late of a device that has moved',
    boundMs: 8_000,
    available: true,
    async run(c) {
      const quiet = c.crowd.conversations.at(-1)!
      const device = c.crowd.devices.find(
        ({ options }) => options.user === quiet.users[1] && options.leaves === undefined,
      )!
      const links = c.cluster.links('task', 'etcd')
      const before = heldBy(links)
      for (const link of links) link.harm({ stalled: true })
      device.drop()
      await within(() => !device.live, 2_000)
      if (!(await within(() => device.live, 5_000))) throw new Error('the device did not come back')
      const kept = await c.crowd.send(quiet)
      // Routed by what the workers know; and well before their leases are over.
      await within(() => isPushed(c, quiet.conv), 1_500)
      for (const link of links) link.heal()
      if (heldBy(links) > before) c.bit(`${heldBy(links) - before} bytes of the watches came late`)
      c.healed()
      if (!(await c.shown(kept, this.boundMs))) throw new Error(`seq ${kept.seq} of ${quiet.conv} is not shown`)
      await c.recovered()
    },
  },
  {
    row: '35',
    name: 'etcd paused beyond all leases',
    boundMs: 30_000,
    available: true,
    async run(c) {
      const { etcd } = c.cluster.stores
      etcd.freeze()
      const answered = await c.cluster.etcd.list('/').then(
        () => true,
        () => false,
      )
      if (!answered) c.bit(`etcd (pid ${etcd.pid}) answers nothing`)
      await c.hold(20_000)
      etcd.thaw()
    },
  },
  {
    row: '36',
    name: 'history compacted while the workers were cut off',
    boundMs: 30_000,
    available: true,
    async run(c) {
      const links = c.cluster.links('task', 'etcd')
      for (const link of links) {
        link.harm({ refusing: true })
        link.cut()
      }
      for (const device of c.crowd.devices) device.drop()
      await c.hold(2_000)
      const revision = await c.cluster.etcd.compact()
      c.bit(`compacted at revision ${revision} while ${links.length} workers were away`)
    },
  },
  {
    row: '37',
    name: 'leases of all nodes and workers revoked',
    boundMs: 60_000,
    available: true,
    async run(c) {
      const listed = [
        ...(await c.cluster.etcd.list(prefixOf(c, 'nodes'))),
        ...(await c.cluster.etcd.list(prefixOf(c, 'partitions'))),
      ]
      const leases = [...new Set(listed.map(({ lease }) => lease))].filter((lease) => lease !== '0')
      for (const lease of leases) await c.cluster.etcd.revoke(lease)
      if (leases.length > 0) c.bit(`${leases.length} leases revoked`)
      await c.hold(2_000)
    },
  },
  {
    row: '37b',
    name: 'listings of sessions deleted by hand',
    boundMs: 60_000,
    available: true,
    async run(c) {
      const sessions = await c.cluster.etcd.list(prefixOf(c, 'users'))
      for (const { key } of sessions) await c.cluster.etcd.remove(key)
      if (sessions.length > 0) c.bit(`${sessions.length} listings deleted`)
      c.healed()
      // Until then a device may hear late, by the sweep. The nodes look every 30 s.
      const live = (): number => c.crowd.devices.filter((device) => device.live).length
      const listed = async (): Promise<number> => (await c.cluster.etcd.list(prefixOf(c, 'users'))).length
      if (!(await within(async () => (await listed()) >= live(), this.boundMs))) {
        throw new Error(`${await listed()} of ${live()} sessions are listed again`)
      }
      await c.recovered()
    },
  },
  {
    row: '37c',
    name: 'etcd out of space',
    boundMs: 60_000,
    available: true,
    async run(c) {
      const { etcd } = c.cluster
      await etcd.outOfSpace(true)
      if (!(await etcd.takesWrites())) c.bit('etcd refuses writes')
      for (const device of c.crowd.devices) device.drop()
      await c.hold(15_000)
      await etcd.outOfSpace(false)
    },
  },
]
