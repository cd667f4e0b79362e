/** Rows 2, 3, 14, 18, 41: what a network does to a link. */
import type { LinkProxy } from '../cluster/proxy.js'
import { within } from '../until.js'
import type { Fault, FaultContext } from './fault.js'

/** Replies of appends that are lost, and of requests. */
const LOST_REPLIES = 3

async function loseReplies(c: FaultContext, links: readonly LinkProxy[], word: string): Promise<void> {
  const before = cutBy(links)
  for (const link of links) link.harm({ cutReplyTo: [word], cutReplies: LOST_REPLIES })
  await within(() => cutBy(links) - before >= LOST_REPLIES, 10_000)
  const dropped = links.reduce((sum, { counters }) => sum + counters.dropped, 0)
  if (cutBy(links) > before) c.bit(`${cutBy(links) - before} replies lost, ${dropped} bytes of them dropped`)
}

const cutBy = (links: readonly LinkProxy[]): number => links.reduce((sum, { counters }) => sum + counters.cut, 0)
const heldBy = (links: readonly LinkProxy[]): number => links.reduce((sum, { counters }) => sum + counters.held, 0)

const slowedBy = (links: readonly LinkProxy[]): number => links.reduce((sum, { counters }) => sum + counters.slowed, 0)

async function holding(c: FaultContext, links: readonly LinkProxy[], harm: object, ms: number): Promise<void> {
  const before = heldBy(links)
  for (const link of links) link.harm(harm)
  await c.hold(ms)
  if (heldBy(links) > before) c.bit(`${heldBy(links) - before} bytes held back`)
}

export const networkFaults: Fault[] = [
  {
    row: '2',
    name: 'replies of appends are lost',
    boundMs: 5_000,
    available: true,
    run: (c) => loseReplies(c, c.cluster.links('api', 'redis'), ':messages'),
  },
  {
    row: '3',
    name: 'replies to HTTP sends are lost',
    boundMs: 5_000,
    available: true,
    run: (c) => loseReplies(c, c.cluster.links('api', 'clients'), 'POST /api/v1/messages'),
  },
  {
    row: '3b',
    name: 'replies to edits are lost',
    boundMs: 5_000,
    available: true,
    changes: true,
    run: (c) => loseReplies(c, c.cluster.links('api', 'clients'), 'PATCH /api/v1/messages/'),
  },
  {
    row: '14',
    name: 'worker to node half-open',
    boundMs: 15_000,
    available: true,
    run: (c) => holding(c, [c.chance.pick(c.cluster.links('connect', 'workers'))], { stalled: true }, 8_000),
  },
  {
    row: '14b',
    name: 'worker to node cut again and again',
    boundMs: 15_000,
    available: true,
    async run(c) {
      const links = c.cluster.links('connect', 'workers')
      const before = cutBy(links)
      for (let i = 0; i < 10; i++) {
        for (const link of links) link.cut()
        await c.hold(400)
      }
      if (cutBy(links) > before) c.bit(`${cutBy(links) - before} connections cut`)
    },
  },
  {
    row: '14c',
    name: 'worker to node at 32 KiB a second',
    boundMs: 15_000,
    available: true,
    async run(c) {
      const links = c.cluster.links('connect', 'workers')
      const before = slowedBy(links)
      for (const link of links) link.harm({ rate: 32 * 1024 })
      await c.hold(6_000)
      if (slowedBy(links) > before) c.bit(`${slowedBy(links) - before} bytes had to wait for their turn`)
    },
  },
  {
    row: '18',
    name: 'workers and Redis: silence, no reset',
    boundMs: 15_000,
    available: true,
    run: (c) => holding(c, c.cluster.links('task', 'redis'), { stalled: true }, 8_000),
  },
  {
    row: '18b',
    name: 'nodes and Redis: silence, no reset',
    boundMs: 15_000,
    available: true,
    run: (c) => holding(c, c.cluster.links('connect', 'redis'), { stalled: true }, 6_000),
  },
  {
    row: '41',
    name: 'clients 200 ms away, and 100 more by chance',
    boundMs: 30_000,
    available: true,
    async run(c) {
      const links = [...c.cluster.links('connect', 'clients'), ...c.cluster.links('api', 'clients')]
      await holding(c, links, { delayMs: 100, jitterMs: 100 }, 6_000)
    },
  },
]
