/** Partitions change hands: after a crash within the lease, at once on a clean stop, and although etcd has lost everything. */
import { startEtcd } from '@tidings/infra'
import { connectEtcd, createRegistryKeys, readAll } from '@tidings/registry'
import t from 'tap'
import { type TestClient, type TestUser, until, type World, world } from '../src/index.js'

const PARTITIONS = 4
interface Bob {
  user: TestUser
  socket: TestClient
}

const GROUPS = ['push', 'persist'] as const

/** Owner and fence of each partition as etcd lists them, by `group partition`. */
async function listed(w: World, etcdUrl: string): Promise<Map<string, { owner: string; fence: number }>> {
  const etcd = connectEtcd([etcdUrl])
  try {
    const found = new Map<string, { owner: string; fence: number }>()
    for (const group of GROUPS) {
      const prefix = createRegistryKeys(w.namespace).partitions(group)
      for (const [key, { value }] of (await readAll(etcd, prefix)).all) {
        found.set(`${group} ${key.slice(prefix.length)}`, JSON.parse(value) as { owner: string; fence: number })
      }
    }
    return found
  } finally {
    etcd.close()
  }
}

/** Does this worker settle all partitions of both groups? Its fences are the ones that Redis knows. */
async function ownsAll(w: World, etcdUrl: string, owner: string): Promise<boolean> {
  const keys = await listed(w, etcdUrl)
  if (keys.size < PARTITIONS * GROUPS.length) return false
  for (const group of GROUPS) {
    for (let p = 0; p < PARTITIONS; p++) {
      const key = keys.get(`${group} ${p}`)
      if (key?.owner !== owner || Number(await w.redis.get(w.keys.fence(p, group))) !== key.fence) return false
    }
  }
  return true
}

/** Sends to many people, so that every partition has some: all is shown on the sockets they have, and all is stored. */
async function goesOn(w: World, alice: TestUser, bobs: readonly Bob[]): Promise<void> {
  const sent = await Promise.all(bobs.map(({ user }) => alice.send(user)))
  await until('all are shown', () => bobs.every(({ socket }, i) => socket.seqs().at(-1) === sent[i]!.seq), 20_000)
  await until(
    'all are stored',
    async () => {
      for (const { conversation, seq } of sent) {
        const [row] = await w.store.use((db) =>
          db.select<{ n: number }>('SELECT COUNT(*) AS n FROM entries WHERE conversation = ?', [conversation]),
        )
        if (Number(row!.n) !== seq) return false
      }
      return true
    },
    20_000,
  )
}

t.test('an etcd that lost all its data holds up nothing: owners get above the fences of before', async (t) => {
  const etcd = await startEtcd()
  t.teardown(() => etcd.stop())
  // A life before: revisions, and with them fences, are far above where they begin again.
  const before = connectEtcd([etcd.url])
  for (let i = 0; i < 300; i++) await before.put(`/before/${i}`).value('x').exec()
  before.close()
  const w = await world(t, {
    stores: { etcdUrl: etcd.url },
    count: { task: 2 },
    env: { TIDINGS_WORKER_LEASE_S: '2', TIDINGS_NODE_LEASE_S: '3' },
  })
  const alice = await w.user()
  const bobs: Bob[] = []
  for (let i = 0; i < 6; i++) {
    const user = await w.user()
    bobs.push({ user, socket: await user.connect() })
  }
  await goesOn(w, alice, bobs)
  const old = await listed(w, etcd.url)
  t.ok([...old.values()].every(({ fence }) => fence > 300))

  await etcd.kill()
  await etcd.wipe()
  await etcd.restart()
  await until('all have owners again', async () => (await listed(w, etcd.url)).size === old.size, 20_000)
  await goesOn(w, alice, bobs)
  for (const { socket } of bobs) t.equal(socket.closeCode, undefined)
  for (const [partition, { fence }] of await listed(w, etcd.url)) {
    t.ok(fence > old.get(partition)!.fence, `the fence of ${partition} rises`)
  }

  // One who knows nothing of before.
  await w.stop('task', 0)
  await w.stop('task', 1)
  await w.start('task')
  await goesOn(w, alice, bobs)
})

t.test(
  'the partitions of a killed worker are taken over within its lease, those of a stopped one at once',
  async (t) => {
    const w = await world(t, { processes: true, count: { task: 2 } })
    const etcdUrl = w.env.TIDINGS_ETCD_URL!
    await until('shared', async () => {
      const owners = [...(await listed(w, etcdUrl)).values()].map(({ owner }) => owner)
      return ['task-1', 'task-2'].every((name) => owners.filter((owner) => owner === name).length === PARTITIONS)
    })
    let began = performance.now()
    await w.processes.get('task-1')!.kill('SIGKILL')
    await until('taken over', () => ownsAll(w, etcdUrl, 'task-2'))
    t.comment(`after a kill: ${Math.round(performance.now() - began)} ms`)
    await w.processes.get('task-1')!.restart()
    await until('shared again', async () => !(await ownsAll(w, etcdUrl, 'task-2')))
    began = performance.now()
    t.equal(await w.processes.get('task-2')!.stop(), 0)
    await until('handed over', () => ownsAll(w, etcdUrl, 'task-1'))
    t.comment(`after a clean stop: ${Math.round(performance.now() - began)} ms`)
  },
)
