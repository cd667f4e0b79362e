/** An operator makes persist pass over entries: by trimming the streams, or by moving or destroying its group. */
import type { Redis } from '@tidings/stream'
import t from 'tap'
import { until, type World, world } from '../src/index.js'

const rowsOf = async (w: World, conversation: string): Promise<string[]> =>
  (
    await w.store.use((db) =>
      db.select<{ seq: string; reason: string | null }>(
        'SELECT seq, reason FROM entries WHERE conversation = ? ORDER BY seq',
        [conversation],
      ),
    )
  ).map(({ seq, reason }) => (reason === null ? seq : `${seq} ${reason}`))

async function metricOf(w: World, task: string, series: string): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${w.ops.get(task)}/metrics`)).text()
  return Number(new RegExp(`^${series}\\{.*\\} (\\d+)$`, 'm').exec(text)?.[1])
}

/** The stream of a partition, as a hand that knows no better leaves it. */
const HARMS: Record<string, (redis: Redis, stream: string) => Promise<unknown>> = {
  'XTRIM MAXLEN 0': (redis, stream) => redis.xtrim(stream, 'MAXLEN', 0),
  'XGROUP SETID $': (redis, stream) => redis.xgroup('SETID', stream, 'persist', '$'),
  'XGROUP DESTROY and CREATE $': async (redis, stream) => {
    await redis.xgroup('DESTROY', stream, 'persist')
    await redis.xgroup('CREATE', stream, 'persist', '$')
  },
  DEL: (redis, stream) => redis.del(stream),
}

const partitionsOf = (w: World): string[] => Array.from({ length: w.keys.partitions }, (_, p) => w.keys.messages(p))

t.test('what the logs still have is stored, whether something follows or not', async (t) => {
  const w = await world(t)
  const alice = await w.user()
  const followed = await w.user()
  const last = await w.user()
  let sent = 0
  let harms = 0
  for (const [name, harm] of Object.entries(HARMS)) {
    await w.stop('task', harms++)
    for (let i = 0; i < 5; i++) await alice.send(followed)
    let conversation = ''
    for (let i = 0; i < 3; i++) ({ conversation } = await alice.send(last))
    for (const stream of partitionsOf(w)) await harm(w.redis, stream)
    await w.start('task')
    const next = await alice.send(followed)
    sent += 6
    await until(`${name}: stored up to the next`, async () => (await rowsOf(w, next.conversation)).length === sent)
    await until(`${name}: stored up to the last`, async () => (await rowsOf(w, conversation)).length === 3 * harms)
    const task = `task-${harms + 1}`
    await until(`${name}: counted`, async () => (await metricOf(w, task, 'tidings_holes_filled_total')) === 8)
    t.equal(await metricOf(w, task, 'tidings_holes_lost_total'), 0, name)
    t.equal((await fetch(`http://127.0.0.1:${w.ops.get(task)}/readyz`)).status, 200, name)
  }
})

t.test('while it runs: entries trimmed in its hands, and consumers deleted with what they had', async (t) => {
  const w = await world(t, { env: { TIDINGS_PARTITIONS: '1' } })
  const alice = await w.user()
  const bob = await w.user()
  const stream = w.keys.messages(0)
  let conversation = ''
  for (let i = 1; i <= 40; i++) {
    ;({ conversation } = await alice.send(bob))
    if (i % 4 === 1) await w.redis.xtrim(stream, 'MAXLEN', 0)
    if (i % 4 === 3) {
      const consumers = (await w.redis.xinfo('CONSUMERS', stream, 'persist')) as string[][]
      for (const [, name] of consumers) await w.redis.xgroup('DELCONSUMER', stream, 'persist', name!)
    }
  }
  await until('all is stored', async () => (await rowsOf(w, conversation)).length === 40)
  const socket = await bob.connect({ query: '&from=oldest' })
  t.equal(socket.seqs().length, 40)
})

t.test('what the logs do not have either is void, and said; what comes after is stored', async (t) => {
  const w = await world(t)
  const alice = await w.user()
  const bob = await w.user()
  const last = await w.user()
  const { conversation } = await alice.send(bob)
  await until('the first is stored', async () => (await rowsOf(w, conversation)).length === 1)
  await w.stop('task')
  for (let i = 0; i < 3; i++) await alice.send(bob)
  const { conversation: quiet } = await alice.send(last)
  for (const stream of partitionsOf(w)) await w.redis.xtrim(stream, 'MAXLEN', 0)
  await w.redis.del(w.keys.log(conversation))
  await w.redis.del(w.keys.log(quiet))
  await w.start('task')
  await alice.send(bob)
  await until('the next is stored', async () => (await rowsOf(w, conversation)).includes('5'))
  t.same(await rowsOf(w, conversation), ['1', '4 lost', '5'])
  await until('nothing follows there', async () => (await rowsOf(w, quiet)).length === 1)
  t.same(await rowsOf(w, quiet), ['1 lost'])
  t.equal(await metricOf(w, 'task-2', 'tidings_holes_lost_total'), 4)
  const ready = await fetch(`http://127.0.0.1:${w.ops.get('task-2')}/readyz`)
  t.match([ready.status, await ready.json()], [503, { checks: { 'lost entries': /^4 entries were lost/ } }])
  const history = await w.http('GET', `conversations/${conversation}/messages?limit=10`, { token: bob.token })
  t.match(history.body, { messages: [{ seq: 1 }, { seq: 5 }], void: [[2, 4]], complete: true })
  const offline = await w.http('GET', 'offline?device=new', { token: bob.token })
  t.match(offline, { status: 200, body: { messages: [{ seq: 1 }, { seq: 5 }], more: false } })
  const socket = await bob.connect()
  t.same(socket.seqs(), [1, 5])
  t.match(
    socket.frames.filter(({ op }) => op === 'void'),
    [{ conversation, from: 2, to: 4 }],
  )
})

t.end()
