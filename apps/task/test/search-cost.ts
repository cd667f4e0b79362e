/**
 * What the index of words costs, in CPU time of MySQL and of the worker: `node apps/task/dist/test/search-cost.js`, with the URL of a
 * server of this machine in TIDINGS_MYSQL_URL. Beside it, what storing the same messages costs MySQL.
 */

import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { migrate } from '@tidings/migrations'
import { firstIdAt } from '@tidings/protocol'
import { createLogger } from '@tidings/service'
import { given } from '@tidings/service/test-env'
import { claimJob, connectStore, insertEntries } from '@tidings/store'
import { createIndexer } from '../src/search-index.js'

const MESSAGES = 20_000
const CONVERSATIONS = 200
const BATCH = 500
const TICKS_PER_S = 100
const WORDS =
  'we moved the meeting of tomorrow to three in the afternoon please bring your notes and the last figures'.split(' ')
const CHINESE = '明天的会议改到下午三点请大家带上笔记和最新的数据我们在老地方见面'

const name = `cost_${randomBytes(4).toString('hex')}`
const url = new URL(given('TIDINGS_MYSQL_URL'))
url.pathname = `/${name}`
await migrate(url.href)
const log = createLogger({ app: 'cost', instance: 'cost', level: 'warn' })
const store = connectStore(url.href, log)
const [server] = await store.use((db) => db.select<{ file: string }>('SELECT @@pid_file AS file'))
const pid = readFileSync(server!.file, 'utf8').trim()

/** Microseconds that the server has worked. */
function serverUs(): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')
  return ((Number(fields[11]) + Number(fields[12])) / TICKS_PER_S) * 1_000_000
}
const ownUs = (): number => {
  const { user, system } = process.cpuUsage()
  return user + system
}

function textOf(i: number): string {
  if (i % 2 === 0) return Array.from({ length: 12 }, (_, k) => WORDS[(i * 7 + k * 5) % WORDS.length]).join(' ')
  const at = i % (CHINESE.length - 15)
  return CHINESE.slice(at, at + 15)
}

const firstId = BigInt(firstIdAt(Date.now() - 60_000))
const serverBefore = serverUs()
for (let at = 0; at < MESSAGES; at += BATCH) {
  const batch = Array.from({ length: BATCH }, (_, k) => {
    const i = at + k
    const conversation = `dm:a:u${i % CONVERSATIONS}`
    const seq = Math.floor(i / CONVERSATIONS) + 1
    const id = String(firstId + BigInt(i))
    const content = JSON.stringify({ text: textOf(i) })
    const rest = { n: seq, from: 'a', type: 'text', content, clientId: `c-${i}`, sentAt: Date.now(), trace: '' }
    return { partition: 0, fence: 1, entry: { id, conversation, seq, ...rest } }
  })
  await insertEntries(store, batch, 'persist')
}
const stored = (serverUs() - serverBefore) / MESSAGES

let entries = 0
const indexer = createIndexer({
  store,
  owner: 'cost',
  perS: 1_000_000,
  stored: () => 0,
  log,
  indexed: (some) => (entries += some),
})
const job = (await claimJob(store, 'search', 'cost'))!
const [server0, own0, began] = [serverUs(), ownUs(), performance.now()]
await indexer.run(job, new AbortController().signal)
const [server1, own1, seconds] = [serverUs(), ownUs(), (performance.now() - began) / 1_000]
console.log(`${entries} messages were indexed in ${seconds.toFixed(1)} s, of which half is rest`)
console.log(
  `MySQL: ${stored.toFixed(0)} us to store a message, ${((server1 - server0) / entries).toFixed(0)} us to index it`,
)
console.log(`worker: ${((own1 - own0) / entries).toFixed(0)} us to index it`)
await store.use((db) => db.run(`DROP DATABASE ${name}`))
await store.stop()
