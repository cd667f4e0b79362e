/** Where devices are reached by Web Push while they are not connected. */
import { AppError } from '@tidings/protocol'
import { and, asc, eq, gt, ne, sql } from 'drizzle-orm'
import { ER_DUPLICATE, errnoOf } from './away.js'
import { type Store, transaction } from './db.js'
import { pushSubscriptions } from './schema-notify.js'

/** Calls at once for a device or a browser: each time round, one of them is done. */
const ATTEMPTS = 10

export type PushSubscriptionRow = typeof pushSubscriptions.$inferSelect
export type NewPushSubscription = Omit<PushSubscriptionRow, 'id'>

/**
 * Makes this the device's subscription. A browser that another person or device had is theirs no more: whoever signs in last in it is
 * the one who is reached there.
 * @param most how many a user may have
 * @returns false when the user has as many on other devices @throws AppError `unavailable`: repeat it
 */
export async function putPushSubscription(store: Store, row: NewPushSubscription, most: number): Promise<boolean> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await put(store, row, most)
    } catch (error) {
      // Another call for the device or the browser has put its own between our removing and our writing: it came first.
      if (errnoOf(error) !== ER_DUPLICATE) throw error
      if (attempt === ATTEMPTS)
        throw new AppError('unavailable', 'This subscription is given by many at once. Try again shortly.', {
          cause: error,
          retryAfter: 1,
        })
    }
  }
}

function put(store: Store, row: NewPushSubscription, most: number): Promise<boolean> {
  return transaction(store, async ({ orm }) => {
    const { user, device, endpointHash } = row
    const [others] = await orm
      .select({ n: sql<string>`COUNT(*)` })
      .from(pushSubscriptions)
      .where(and(eq(pushSubscriptions.user, user), ne(pushSubscriptions.device, device)))
    if (Number(others?.n) >= most) return false
    await orm.delete(pushSubscriptions).where(eq(pushSubscriptions.endpointHash, endpointHash))
    await orm
      .delete(pushSubscriptions)
      .where(and(eq(pushSubscriptions.user, user), eq(pushSubscriptions.device, device)))
    await orm.insert(pushSubscriptions).values(row)
    return true
  })
}

/** Those of a user. Index: push_subscriptions_device. @throws AppError `unavailable` */
export async function pushSubscriptionsOf(store: Store, user: string): Promise<PushSubscriptionRow[]> {
  return store.use(({ orm }) =>
    orm.select().from(pushSubscriptions).where(eq(pushSubscriptions.user, user)).orderBy(asc(pushSubscriptions.device)),
  )
}

/** @returns false when the user has none for the device @throws AppError `unavailable` */
export async function deletePushSubscription(store: Store, user: string, device: string): Promise<boolean> {
  const deleted = await store.use((db) =>
    db.run('DELETE FROM push_subscriptions WHERE user = ? AND device = ?', [user, device]),
  )
  return deleted > 0
}

/** The push service has said that it is gone; one that was made since stays. @throws AppError `unavailable` */
export async function forgetPushSubscription(store: Store, id: number): Promise<void> {
  await store.use((db) => db.run('DELETE FROM push_subscriptions WHERE id = ?', [id]))
}

/** Whose devices there are, page by page in the order of their making. @throws AppError `unavailable` */
export async function pushSubscribersAfter(
  store: Store,
  after: number,
  limit: number,
): Promise<Pick<PushSubscriptionRow, 'id' | 'user' | 'device' | 'createdAt'>[]> {
  const { id, user, device, createdAt } = pushSubscriptions
  return store.use(({ orm }) =>
    orm
      .select({ id, user, device, createdAt })
      .from(pushSubscriptions)
      .where(gt(id, after))
      .orderBy(asc(id))
      .limit(limit),
  )
}
