/** Webhooks: which endpoints are told of what. A few dozen rows, read as a whole. */
import { asc, eq, sql } from 'drizzle-orm'
import { type Store, transaction } from './db.js'
import { deliveries, webhooks } from './schema-notify.js'

type Row = typeof webhooks.$inferSelect

export interface WebhookRow extends Omit<Row, 'events' | 'rooms' | 'users'> {
  events: readonly string[]
  rooms: readonly string[]
  users: readonly string[]
}

export type WebhookChange = Partial<
  Pick<
    WebhookRow,
    'url' | 'events' | 'rooms' | 'users' | 'secret' | 'oldSecret' | 'oldSecretUntil' | 'disabledAt' | 'disabledBecause'
  >
>

const fromRow = (row: Row): WebhookRow => ({
  ...row,
  events: row.events.split(','),
  rooms: JSON.parse(row.rooms) as string[],
  users: JSON.parse(row.users) as string[],
})

const toColumns = ({ events, rooms, users, ...rest }: WebhookChange) => ({
  ...rest,
  ...(events && { events: events.join(',') }),
  ...(rooms && { rooms: JSON.stringify(rooms) }),
  ...(users && { users: JSON.stringify(users) }),
})

/** All of them, the oldest first. @throws AppError `unavailable` */
export async function allWebhooks(store: Store): Promise<WebhookRow[]> {
  const rows = await store.use(({ orm }) =>
    orm.select().from(webhooks).orderBy(asc(webhooks.createdAt), asc(webhooks.id)),
  )
  return rows.map(fromRow)
}

/** @throws AppError `unavailable` */
export async function findWebhook(store: Store, id: string): Promise<WebhookRow | undefined> {
  const [row] = await store.use(({ orm }) => orm.select().from(webhooks).where(eq(webhooks.id, id)))
  return row && fromRow(row)
}

/** @param most how many there may be; two calls at once may end one above it @returns false when there are as many @throws AppError `unavailable` */
export async function insertWebhook(store: Store, webhook: WebhookRow, most: number): Promise<boolean> {
  return transaction(store, async ({ orm }) => {
    const [counted] = await orm.select({ n: sql<string>`COUNT(*)` }).from(webhooks)
    if (Number(counted?.n) >= most) return false
    await orm.insert(webhooks).values({ ...webhook, ...toColumns(webhook) } as typeof webhooks.$inferInsert)
    return true
  })
}

/**
 * @param decide what is to be another: told how it is, which nobody changes meanwhile; it may be asked several times
 * @returns how it is then, undefined when there is none @throws AppError `unavailable`: repeat it; else what `decide` throws
 */
export async function changeWebhook(
  store: Store,
  id: string,
  decide: (before: WebhookRow) => WebhookChange,
): Promise<WebhookRow | undefined> {
  return transaction(store, async ({ orm }) => {
    const [row] = await orm.select().from(webhooks).where(eq(webhooks.id, id)).for('update')
    if (!row) return undefined
    const before = fromRow(row)
    const change = decide(before)
    if (Object.keys(change).length > 0) await orm.update(webhooks).set(toColumns(change)).where(eq(webhooks.id, id))
    return { ...before, ...change }
  })
}

/** Secrets that sign nothing any more. @throws AppError `unavailable` */
export async function forgetOldSecrets(store: Store, now: Date): Promise<void> {
  await store.use((db) =>
    // No index: a few dozen rows.
    db.run('UPDATE webhooks SET old_secret = NULL, old_secret_until = NULL WHERE old_secret_until <= ?', [now]),
  )
}

/**
 * The endpoint has said that it is gone for good.
 * @param url of that endpoint: the webhook may have been given another one since
 * @returns false when it has @throws AppError `unavailable`
 */
export async function disableGoneWebhook(store: Store, id: string, url: string, now: Date): Promise<boolean> {
  const disabled = await store.use((db) =>
    db.run("UPDATE webhooks SET disabled_at = ?, disabled_because = 'gone' WHERE id = ? AND url = ?", [now, id, url]),
  )
  return disabled > 0
}

/** Counts events that were not taken. @throws AppError `unavailable` */
export async function addDropped(store: Store, id: string, events: number): Promise<void> {
  await store.use((db) => db.run('UPDATE webhooks SET dropped = dropped + ? WHERE id = ?', [events, id]))
}

/** Forgets a webhook and all that is due to it; what is left goes with `forgetDeliveries`. @returns false when there is none @throws AppError `unavailable`: repeat it */
export async function deleteWebhook(store: Store, id: string): Promise<boolean> {
  return transaction(store, async ({ orm }) => {
    const [found] = await orm.select({ id: webhooks.id }).from(webhooks).where(eq(webhooks.id, id))
    await orm.delete(webhooks).where(eq(webhooks.id, id))
    // Rows may be many: forgetDeliveries takes what one statement does not.
    await orm.delete(deliveries).where(eq(deliveries.webhook, id)).limit(1_000)
    return found !== undefined
  })
}
