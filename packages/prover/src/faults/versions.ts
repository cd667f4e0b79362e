/** Row 46: apis of an earlier and of a later version write beside today's workers and nodes, as during an upgrade and on the way back. */
import { moduleUrl, type Rewrite } from '../rewrite/rewrite.js'
import type { Fault, FaultContext } from './fault.js'

/** The end of an entry in append.lua. */
export const LAST_FIELD = `, 'trace', ARGV[a + 8])`
const READ = `const text = readFileSync(file, 'utf8');`

/** The append script ends its entries in another way. */
const writing = (last: string): Rewrite => ({
  module: moduleUrl('packages/stream/dist/src/script.js'),
  find: READ,
  replace: `const text = readFileSync(file, 'utf8').replace(${JSON.stringify(LAST_FIELD)}, ${JSON.stringify(last)});`,
})

/** Before entries carried a trace, and when they carry something that nobody here knows. */
const EARLIER = writing(')')
const LATER = writing(`, 'trace', ARGV[a + 8], 'priority', '1', 'language', 'en')`)

/** How many entries of the streams are of each shape. */
async function shapes({ cluster: { redis, keys, partitions } }: FaultContext): Promise<Record<string, number>> {
  const counts = { earlier: 0, today: 0, later: 0 }
  for (let p = 0; p < partitions; p++)
    for (const [, fields] of await redis.xrange(keys.messages(p), '-', '+'))
      if (fields.includes('priority')) counts.later++
      else if (fields.includes('trace')) counts.today++
      else counts.earlier++
  return counts
}

export const versionFaults: Fault[] = [
  {
    row: '46',
    name: 'apis of an earlier and of a later version among today’s',
    boundMs: 5_000,
    available: true,
    async run(c) {
      const apis = c.cluster.of('api')
      const before = apis.map(({ rewrites }) => rewrites)
      const restart = async (i: number, more: readonly Rewrite[]): Promise<void> => {
        await apis[i]!.stop()
        await apis[i]!.start([...before[i]!, ...more])
      }
      try {
        await restart(0, [EARLIER])
        await restart(apis.length - 1, [LATER])
        for (let api = 0; api < apis.length; api++)
          for (let i = 0; i < 3; i++) await c.crowd.send(c.crowd.conversations.at(-1)!, { api })
        const { earlier = 0, today = 0, later = 0 } = await shapes(c)
        if (earlier > 0 && later > 0)
          c.bit(`in the streams ${earlier} entries of an earlier version, ${later} of a later one, ${today} of today’s`)
        await c.hold(4_000)
      } finally {
        for (const i of apis.keys()) await restart(i, [])
      }
    },
  },
]
