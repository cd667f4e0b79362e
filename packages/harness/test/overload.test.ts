/** Promise 5: what does not fit is refused with 503 and Retry-After, and nothing that was accepted suffers. */
import { spawn } from 'node:child_process'
import { startRedis } from '@tidings/infra'
import { readLag } from '@tidings/stream'
import t from 'tap'
import { type Reply, until, type World, world } from '../src/index.js'

interface Problem {
  code: string
  retryAfter: number
}

const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1)

const storedRows = async (w: World, conversation: string): Promise<number> => {
  const [row] = await w.store.use((db) =>
    db.select<{ n: number }>('SELECT COUNT(*) AS n FROM entries WHERE conversation = ?', [conversation]),
  )
  return Number(row!.n)
}

function isOverloaded(reply: Reply<Problem>, least: number, most: number): boolean {
  const seconds = Number(reply.headers.get('retry-after'))
  return reply.status === 503 && reply.body.code === 'overloaded' && seconds >= least && seconds <= most
}

/** What the watches of both edges have found. */
async function pressureIs(w: World, level: number): Promise<void> {
  for (const edge of ['api-1', 'connect-1']) {
    await until(`${edge} knows`, async () => {
      const text = await (await fetch(`http://127.0.0.1:${w.ops.get(edge)}/metrics`)).text()
      return new RegExp(`^tidings_pressure\\{.*\\} ${level}$`, 'm').test(text)
    })
  }
}

t.test(
  'a backlog past its limit: batches, then every send get 503; nothing else does; stored, it opens again',
  async (t) => {
    const w = await world(t, { env: { TIDINGS_MAX_BACKLOG: '100', TIDINGS_TASK_GROUPS: 'push' } })
    const alice = await w.user()
    const bob = await w.user()
    const socket = await bob.connect()
    const sender = await alice.connect()
    const message = { to: { user: bob.name }, content: {} }
    const send = () => w.http<Problem>('POST', 'messages', { token: alice.token, body: message })
    const batch = async () =>
      (
        await w.http<{ results: (Problem & { status?: number })[] }>('POST', 'messages/batch', {
          token: alice.token,
          body: { messages: [message, message] },
        })
      ).body.results
    for (let i = 0; i < 60; i++) await alice.send(bob)
    await pressureIs(w, 1)
    for (const { code, status, retryAfter } of await batch()) {
      t.same([code, status], ['overloaded', 503])
      t.ok(retryAfter >= 1 && retryAfter <= 5)
    }
    let accepted = 60
    let refused = await send()
    for (; refused.status === 202; refused = await send()) accepted++
    t.ok(isOverloaded(refused, 1, 5), 'every send is refused, once the limit is passed')
    t.ok(accepted > 100, 'and not before')
    await pressureIs(w, 2)
    sender.send({ op: 'send', to: { user: bob.name }, content: {}, clientId: 'by-socket' })
    t.match(await sender.next('error'), { code: 'overloaded', clientId: 'by-socket', retryAfter: Number })

    await socket.until('all that was accepted arrives', () => socket.seqs().length === accepted)
    t.same(socket.seqs(), upTo(accepted))
    const { conversation } = socket.messages()[0]!
    socket.ack(conversation, accepted)
    const key = w.keys.cursor(bob.name, 'default')
    await until('acks go on', async () => (await w.redis.hget(key, conversation)) === String(accepted))
    const history = await w.http<{ messages: unknown[] }>('GET', `conversations/${conversation}/messages?limit=200`, {
      token: bob.token,
    })
    t.equal(history.body.messages.length, Math.min(accepted, 200), 'history goes on')
    const late = await bob.connect({ device: 'late', query: '&from=oldest' })
    t.equal(late.seqs().length, accepted, 'catching up goes on')

    await w.start('task', { TIDINGS_TASK_GROUPS: 'persist' })
    await until('stored', async () => (await storedRows(w, conversation)) === accepted)
    await until('it opens again', async () => (await send()).status === 202)
  },
)

t.test(
  'Redis full: sends are 503 and leave nothing behind, workers start and drain, acks and sessions go on',
  async (t) => {
    const redis = await startRedis()
    t.teardown(() => redis.stop())
    const w = await world(t, { stores: { redisUrl: redis.url }, count: { task: 0 } })
    const alice = await w.user()
    const bob = await w.user()
    const carol = await w.user()
    const socket = await bob.connect()
    for (let i = 0; i < 50; i++) await alice.send(bob)
    const { conversation } = await alice.send(bob)
    const memory = async (bytes: string) => await w.redis.config('SET', 'maxmemory', bytes)
    // Far below what is used: every command that may need memory is refused from here on.
    await memory('1mb')
    t.teardown(() => memory('0'))
    await t.rejects(w.redis.set('probe', 'x'), /^(ReplyError: )?OOM/, 'it is full')

    const send = (to: string, clientId?: string) =>
      w.http<Problem>('POST', 'messages', { token: alice.token, body: { to: { user: to }, content: {}, clientId } })
    t.ok(isOverloaded(await send(bob.name, 'full'), 5, 15), 'an old conversation')
    t.ok(isOverloaded(await send(carol.name, 'full'), 5, 15), 'a new one')
    await pressureIs(w, 2)
    t.ok(isOverloaded(await send(carol.name, 'full'), 5, 15), 'the watch refuses alike')
    const names = await w.redis.keys(`*${[alice.name, carol.name].sort().join(':')}*`)
    t.same(names, [], 'no head, log or once-key of the new conversation')
    const list = await w.http<{ conversations: { id: string }[] }>('GET', 'conversations', { token: alice.token })
    t.same(
      list.body.conversations.map(({ id }) => id),
      [conversation],
      'and nobody sees it',
    )

    await w.start('task')
    await socket.until('what was accepted is delivered', () => socket.seqs().length === 51)
    await until('and stored', async () => (await storedRows(w, conversation)) === 51)
    await until('and settled', async () =>
      (
        await readLag(
          w.redis,
          w.keys,
          'persist',
          upTo(4).map((p) => p - 1),
        )
      ).every((row) => row.lag + row.pending === 0),
    )
    socket.ack(conversation, 51)
    const key = w.keys.cursor(bob.name, 'default')
    await until('an ack is kept', async () => (await w.redis.hget(key, conversation)) === '51')
    const late = await bob.connect({ device: 'late', query: '&from=oldest' })
    t.same(late.seqs(), upTo(51), 'a device that was never seen gets its session')

    t.equal((await w.http('POST', 'auth/logout', { token: bob.token })).status, 204)
    t.equal(await socket.closed(), 4410, 'logging out counts all the same')

    await memory('0')
    await until('accepted again', async () => (await send(carol.name, 'full')).status === 202)
    t.equal((await alice.send(carol)).seq, 2, 'the refused tries took no seq')
  },
)

t.test('66: a Redis that evicts, or a replica, stops every app with status 78 and one line', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const w = await world(t, { count: { api: 0, logic: 0, task: 0, connect: 0 }, stores: { redisUrl: redis.url } })
  const start = async (app: string): Promise<{ code: number | null; stderr: string }> => {
    const main = new URL(`../../../../apps/${app}/dist/src/main.js`, import.meta.url).pathname
    const child = spawn(process.execPath, [main], {
      env: { PATH: process.env.PATH, ...w.env },
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    let stderr = ''
    child.stderr.on('data', (chunk) => {
      stderr += String(chunk)
    })
    const code = await new Promise<number | null>((resolve) => child.once('close', resolve))
    return { code, stderr }
  }
  await w.redis.config('SET', 'maxmemory-policy', 'allkeys-lru')
  for (const app of ['api', 'logic', 'task', 'connect']) {
    const { code, stderr } = await start(app)
    t.equal(code, 78, app)
    t.match(stderr, /^TIDINGS_REDIS_URL: this Redis evicts keys .*noeviction\.\n$/, app)
  }
  await w.redis.config('SET', 'maxmemory-policy', 'noeviction')
  await w.redis.replicaof('127.0.0.1', '1')
  const replica = await start('task')
  t.equal(replica.code, 78)
  t.match(replica.stderr, /^TIDINGS_REDIS_URL: this Redis is a replica: .*primary\.\n$/)
  await w.redis.replicaof('NO', 'ONE')
})
