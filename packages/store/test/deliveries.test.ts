import t from 'tap'
import { forgetDeliveries, insertDeliveries, insertWebhook, transaction } from '../src/index.js'
import { freshDatabase } from './world.js'

const { store } = await freshDatabase(t)
const DAY_MS = 24 * 3_600_000
const now = Date.now()
const daysAgo = (days: number): Date => new Date(now - days * DAY_MS)

t.test('dead letters are forgotten by their age, by that of their event, and by their number', async (t) => {
  await insertWebhook(
    store,
    {
      ...{ id: 'wh_1', url: 'https://example.com/', events: ['message'], rooms: [], users: [], secret: 'whsec_' },
      ...{
        oldSecret: null,
        oldSecretUntil: null,
        createdBy: 'test',
        createdAt: daysAgo(90),
        disabledAt: null,
        disabledBecause: null,
        dropped: 0,
      },
    },
    100,
  )
  const write = async (eventId: string, notedDays: number, deadDays?: number): Promise<void> => {
    const row = { webhook: 'wh_1', eventId, body: '{}' }
    await transaction(store, (db) => insertDeliveries(db, [row], daysAgo(notedDays)))
    if (deadDays === undefined) return
    const sql = 'UPDATE deliveries SET due_at = NULL, dead_at = ? WHERE event_id = ?'
    await store.use((db) => db.run(sql, [daysAgo(deadDays), eventId]))
  }
  await write('waits', 40)
  await write('dead long ago', 41, 31)
  await write('old', 20, 1)
  await write('new', 3, 2)
  await write('newest', 2, 1)
  const left = async (): Promise<string[]> => {
    const rows = await store.use((db) =>
      db.select<{ event: string }>('SELECT event_id AS event FROM deliveries ORDER BY id'),
    )
    return rows.map(({ event }) => event)
  }
  const forgotten = { deadUntil: daysAgo(30), notedUntil: undefined, most: 10 }
  await forgetDeliveries(store, forgotten)
  t.same(await left(), ['waits', 'old', 'new', 'newest'])
  await forgetDeliveries(store, { ...forgotten, notedUntil: daysAgo(7) })
  t.same(await left(), ['waits', 'new', 'newest'], 'what still waits is not dead')
  await forgetDeliveries(store, { ...forgotten, most: 1 })
  t.same(await left(), ['waits', 'newest'])
})

t.end()
