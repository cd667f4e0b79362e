/** A worker that MySQL cannot be reached from, while all others can reach it. */
import { startLink } from '@tidings/infra'
import { connectEtcd, createRegistryKeys, readAll } from '@tidings/registry'
import t from 'tap'
import { until, type World, world } from '../src/index.js'

const PARTITIONS = 4

/** Who owns each partition of a group, as etcd lists it. */
async function owners(w: World, group: string): Promise<string[]> {
  const etcd = connectEtcd([w.env.TIDINGS_ETCD_URL!])
  try {
    const { all } = await readAll(etcd, createRegistryKeys(w.namespace).partitions(group))
    return [...all.values()].map(({ value }) => (JSON.parse(value) as { owner: string }).owner)
  } finally {
    etcd.close()
  }
}

const ofEach = async (w: World, group: string, ...workers: string[]): Promise<boolean> => {
  const all = await owners(w, group)
  return (
    all.length === PARTITIONS &&
    workers.every((one) => all.filter((by) => by === one).length === PARTITIONS / workers.length)
  )
}

t.test('a worker that alone is cut off from MySQL leaves its share of persist to the others', async (t) => {
  const w = await world(t)
  const mysql = new URL(w.env.TIDINGS_MYSQL_URL!)
  const link = await startLink(Number(mysql.port))
  t.teardown(() => link.stop())
  mysql.port = String(link.port)
  await w.start('task', { TIDINGS_MYSQL_URL: mysql.href })
  await until('shared', () => ofEach(w, 'persist', 'task-1', 'task-2'))
  const alice = await w.user()
  const bobs = await Promise.all(Array.from({ length: 12 }, () => w.user()))
  const said: { conversation: string; seq: number }[] = []
  const say = async (): Promise<void> => void said.push(...(await Promise.all(bobs.map((bob) => alice.send(bob)))))
  const stored = async (): Promise<boolean> => {
    for (const { conversation, seq } of said) {
      const rows = await w.store.use((db) =>
        db.select<{ n: number }>('SELECT COUNT(*) AS n FROM entries WHERE conversation = ? AND seq <= ?', [
          conversation,
          seq,
        ]),
      )
      if (Number(rows[0]!.n) !== seq) return false
    }
    return true
  }
  await say()
  await until('all is stored', stored)

  link.stall()
  // It reads some, and has them in hand when it gives them up.
  await say()
  await until('the other has all of persist', () => ofEach(w, 'persist', 'task-1'), 60_000)
  t.ok(await ofEach(w, 'push', 'task-1', 'task-2'), 'what needs no MySQL it goes on with')
  await say()
  await until('all is stored', stored)

  // The other is gone: nobody is able, and somebody has the share all the same.
  await w.stop('task', 0)
  await until('it has all', () => ofEach(w, 'persist', 'task-2'))
  await say()
  link.resume()
  await until('all is stored', stored)
  await w.start('task')
  await until(
    'shared again',
    async () => (await owners(w, 'persist')).filter((by) => by === 'task-2').length === PARTITIONS / 2,
  )
  for (const bob of bobs) {
    const seqs = (
      await w.store.use((db) =>
        db.select<{ seq: string }>('SELECT seq FROM entries WHERE conversation LIKE ? ORDER BY seq', [
          `dm:%${bob.name}%`,
        ]),
      )
    ).map(({ seq }) => Number(seq))
    t.same(seqs, [1, 2, 3, 4])
  }
})
