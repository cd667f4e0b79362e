/**
 * Row 21: two primaries at once. The old one lets nobody in any more, so that the sentinels take it for dead, and one api, which cannot
 * hear the sentinels, goes on with it over the connection it has. What it accepts is lost when the old primary is made a replica.
 */
import { askServer, openRedis, type Redis } from '../cluster/redis.js'
import { within } from '../until.js'
import type { FaultContext } from './fault.js'
import { accept, inStep, missingOn, promoted, replicationOf, tailOn } from './tail.js'

/** The first api. */
const API = 0
const TAIL = 5
const SPLIT_MS = 10_000

/** Nobody new gets in, and sentinels and replicas are put out; who else is in stays in. @returns how many were put out */
async function closeDoor(redis: Redis): Promise<number> {
  await redis.call('ACL', 'SETUSER', 'default', 'off')
  let out = Number(await redis.call('CLIENT', 'KILL', 'TYPE', 'replica'))
  for (const line of String(await redis.call('CLIENT', 'LIST')).split('\n')) {
    const [, id, name = ''] = /^id=(\d+) .*? name=(\S*)/.exec(line) ?? []
    if (name.startsWith('sentinel-')) out += Number(await redis.call('CLIENT', 'KILL', 'ID', id!))
  }
  return out
}

const openDoor = (redis: Redis): Promise<unknown> => redis.call('ACL', 'SETUSER', 'default', 'on', 'nopass')

export async function splitBrain(c: FaultContext): Promise<void> {
  const { cluster } = c
  const set = cluster.replicated!
  const old = await set.primary()
  const heir = set.servers.find((server) => server !== old)!
  const quiet = c.crowd.conversations.at(-1)!
  await inStep(heir)
  const inside = await openRedis(old.url)
  try {
    for (const link of cluster.sentinelLinks(cluster.of('api')[API]!.instance)) link.harm({ stalled: true })
    await closeDoor(inside)
    await set.movedFrom(old)
    await promoted(heir)
    const tail = await tailOn(inside, c, await accept(c, quiet, TAIL, API))
    await c.hold(SPLIT_MS)
    const both = /role:master/.test(await inside.info('replication')) && (await replicationOf(heir)).role === 'master'
    const lost = await missingOn(heir, c, tail)
    if (both && lost.length === TAIL)
      c.bit(`two primaries, at ${old.port} and ${heir.port}; ${lost.length} entries were accepted by the old one alone`)
    await openDoor(inside)
    cluster.healLinks()
    c.healed()
    // Until it has heard the sentinels, the old primary goes on telling it that all is well.
    const left = async (): Promise<boolean> => {
      const fresh = await accept(c, quiet, 1, API)
      return askServer(heir, (redis) => tailOn(redis, c, fresh)).then(
        () => true,
        () => false,
      )
    }
    if (!(await within(left, 15_000))) throw new Error('the api stays with the old primary')
    await c.recovered()
    await inStep(old)
  } finally {
    await openDoor(inside).catch(() => undefined)
    inside.disconnect()
  }
}
