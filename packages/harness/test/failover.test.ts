/** The whole product behind Sentinel. A primary that dies with a tail that no replica has is another matter: that tail is lost. */
import { type RedisReplicated, startRedisReplicated } from '@tidings/infra'
import t, { type Test } from 'tap'
import { type World, world } from '../src/index.js'
import { unharmed } from './load.js'

/** What was pushed and not yet on a replica was not accepted: its sender repeats it. */
const LOST = { tailLost: true }

/** Sentinels put off a second failover: each test has its own. */
async function behindSentinels(t: Test): Promise<{ set: RedisReplicated; w: World }> {
  const set = await startRedisReplicated({ replicas: 2 })
  t.teardown(() => set.stop())
  const env = { TIDINGS_ACCEPT_REPLICAS: '1' }
  return { set, w: await world(t, { stores: { redisUrl: set.url }, count: { task: 2, connect: 2 }, env }) }
}

t.test(
  'a planned failover under load: nothing lost, doubled or misordered, and sending again within 10 s',
  async (t) => {
    const { set, w } = await behindSentinels(t)
    const { told, longestPauseMs } = await unharmed(t, w, () => set.failover(), LOST)
    t.same([...told], [503], 'meanwhile: not now')
    t.comment(`accepted again after ${Math.round(longestPauseMs)} ms`)
    t.ok(longestPauseMs < 10_000)
  },
)

t.test('the primary is killed: what was accepted is on a replica, which takes over', async (t) => {
  const { set, w } = await behindSentinels(t)
  const { told, longestPauseMs } = await unharmed(
    t,
    w,
    async () => {
      const primary = await set.primary()
      await primary.kill()
      await set.movedFrom(primary)
    },
    LOST,
  )
  t.same([...told], [503], 'meanwhile: not now')
  t.comment(`accepted again after ${Math.round(longestPauseMs)} ms`)
  t.ok(longestPauseMs < 15_000)
})

t.test('the primary hangs: the sentinels name another one, and nobody waits for the old one', async (t) => {
  const { set, w } = await behindSentinels(t)
  const { told, longestPauseMs } = await unharmed(
    t,
    w,
    async () => {
      const primary = await set.primary()
      primary.freeze()
      await set.movedFrom(primary)
      primary.thaw()
    },
    LOST,
  )
  t.same([...told], [503], 'meanwhile: not now')
  t.comment(`accepted again after ${Math.round(longestPauseMs)} ms`)
  t.ok(longestPauseMs < 15_000)
})
