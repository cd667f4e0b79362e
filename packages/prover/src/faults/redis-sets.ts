/** Rows 19, 20, 27: a Redis of several servers fails over, loses a tail, or moves what it holds. */
import { within } from '../until.js'
import type { Fault, FaultContext } from './fault.js'

const portOf = async (c: FaultContext): Promise<number> => (await c.cluster.replicated!.primary()).port

export const redisSetFaults: Fault[] = [
  {
    row: '19',
    name: 'clean failover',
    redis: 'replicated',
    boundMs: 10_000,
    available: false,
    // Another server, and nobody can tell whether it has all.
    voids: true,
    async run(c) {
      const before = await portOf(c)
      await c.cluster.replicated!.failover()
      c.healed()
      const after = await portOf(c)
      if (after !== before) c.bit(`the primary was at ${before} and is at ${after}`)
    },
  },
  {
    row: '20',
    name: 'failover that loses a tail',
    redis: 'replicated',
    boundMs: 15_000,
    available: false,
    voids: true,
    tailLost: true,
    async run(c) {
      const set = c.cluster.replicated!
      const quiet = c.crowd.conversations.at(-1)!
      const old = await set.primary()
      await set.stallReplication()
      // Accepted by a server that is about to take them with it.
      for (let i = 0; i < 5; i++) await c.crowd.send(quiet)
      await c.hold(1_500)
      const head = Number(await c.cluster.redis.get(c.cluster.keys.seq(quiet.conv)))
      await old.kill()
      set.resumeReplication()
      await set.movedFrom(old)
      const left = async (): Promise<number> => Number(await c.cluster.redis.get(c.cluster.keys.seq(quiet.conv)))
      await within(async () => (await left().catch(() => head)) !== head, 15_000)
      c.healed()
      const now = await left()
      if (now !== head) c.bit(`the head of ${quiet.conv} was ${head} and is ${now}`)
      await c.recovered()
      await old.restart()
    },
  },
  {
    row: '27',
    name: 'slots move from shard to shard',
    redis: 'sharded',
    boundMs: 10_000,
    available: true,
    // Another server: whether it has all is not looked at, so conversations leap.
    voids: true,
    async run(c) {
      const set = c.cluster.sharded!
      let moved = 0
      for (let p = 0; p < c.cluster.partitions; p++) {
        const key = c.cluster.keys.messages(p)
        const from = await set.shardOf(key)
        await set.moveSlot(await set.slotOf(key), (from + 1) % set.shards.length)
        if ((await set.shardOf(key)) !== from) moved++
      }
      if (moved > 0) c.bit(`${moved} partitions are on another shard`)
    },
  },
]
