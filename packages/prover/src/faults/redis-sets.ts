/** Rows 19, 20, 21, 27: a Redis of several servers fails over, loses a tail, is split, or moves what it holds. */
import { askServer } from '../cluster/redis.js'
import { within } from '../until.js'
import type { Fault, FaultContext } from './fault.js'
import { splitBrain } from './split.js'
import { accept, inStep, missingOn, promoted, replicationOf, storedOf, tailOn } from './tail.js'

const TAIL = 5

const portOf = async (c: FaultContext): Promise<number> => (await c.cluster.replicated!.primary()).port

/**
 * Entries are accepted by a primary whose replica gets nothing any more; it dies, and the replica takes over.
 * @param stored whether persist gets them into MySQL before: then MySQL is ahead of Redis. If not, only their senders have them
 */
async function loseTail(c: FaultContext, stored: boolean): Promise<void> {
  const set = c.cluster.replicated!
  const quiet = c.crowd.conversations.at(-1)!
  const old = await set.primary()
  const heir = set.servers.find((server) => server !== old)!
  await set.stallReplication()
  const before = await replicationOf(old)
  if (!stored) for (const link of c.cluster.links('task', 'mysql')) link.harm({ stalled: true })
  const accepted = await accept(c, quiet, TAIL)
  const tail = await askServer(old, (redis) => tailOn(redis, c, accepted))
  await c.crowd.alter(accepted)
  if (stored && !(await within(async () => (await storedOf(c, tail)) === TAIL, 10_000)))
    throw new Error('the tail was not stored')
  const behind = (await replicationOf(old)).offset - (await replicationOf(heir)).offset
  await old.kill()
  set.loseReplication()
  await set.movedFrom(old)
  await promoted(heir)
  c.healed()
  const after = await replicationOf(heir)
  const missing = await missingOn(heir, c, tail)
  const inMysql = await storedOf(c, tail)
  c.cluster.healLinks()
  if (behind > 0 && missing.length === TAIL && after.id !== before.id && inMysql === (stored ? TAIL : 0))
    c.bit(
      `the heir was ${behind} bytes behind; of ${TAIL} accepted entries (${tail[0]!.streamId} to ${tail.at(-1)!.streamId}) it has none, ` +
        `MySQL ${inMysql}; replid was ${before.id.slice(0, 8)} and is ${after.id.slice(0, 8)}`,
    )
  await c.recovered()
  await old.restart()
  await inStep(old)
}

/**
 * The same, and then the old primary comes back with the tail that was declared void meanwhile, and is promoted before it has heard
 * of that: the server that has taken its place dies.
 */
async function comeBack(c: FaultContext): Promise<void> {
  const set = c.cluster.replicated!
  const quiet = c.crowd.conversations.at(-1)!
  const old = await set.primary()
  const heir = set.servers.find((server) => server !== old)!
  await set.stallReplication()
  for (const link of c.cluster.links('task', 'mysql')) link.harm({ stalled: true })
  const accepted = await accept(c, quiet, TAIL)
  const tail = await askServer(old, (redis) => tailOn(redis, c, accepted))
  await old.kill()
  set.loseReplication()
  await set.movedFrom(old)
  await promoted(heir)
  const missing = await missingOn(heir, c, tail)
  c.cluster.healLinks()
  // From here on the void over the tail is on devices and in MySQL.
  if ((await c.crowd.probe(20_000)) === undefined) throw new Error('nothing came through between the two failovers')
  await old.restart()
  await heir.kill()
  await set.movedFrom(heir)
  await promoted(old)
  c.healed()
  const there = TAIL - (await missingOn(old, c, tail)).length
  if (missing.length === TAIL && there === TAIL)
    c.bit(`${TAIL} accepted entries were gone with the primary at ${old.port}, and have come back with it`)
  await c.recovered()
  await heir.restart()
  await inStep(heir)
}

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
    name: 'failover that loses a tail which MySQL has',
    redis: 'replicated',
    boundMs: 15_000,
    available: false,
    voids: true,
    tailLost: true,
    run: (c) => loseTail(c, true),
  },
  {
    row: '20b',
    name: 'failover that loses a tail which nobody has but its senders',
    redis: 'replicated',
    boundMs: 15_000,
    available: false,
    voids: true,
    tailLost: true,
    run: (c) => loseTail(c, false),
  },
  {
    row: '20c',
    name: 'a lost tail comes back with its server',
    redis: 'replicated',
    boundMs: 15_000,
    available: false,
    voids: true,
    tailLost: true,
    open: 'what comes back is stored, and shown, where a void was declared',
    run: comeBack,
  },
  {
    row: '21',
    name: 'split brain: an api goes on with a primary that was replaced',
    redis: 'replicated',
    boundMs: 15_000,
    available: false,
    voids: true,
    tailLost: true,
    run: splitBrain,
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
