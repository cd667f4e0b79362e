/** Sign-ins and their refresh tokens, of which only the SHA-256 is known here. */
import { and, desc, eq, gt, isNull, lt } from 'drizzle-orm'
import { type Db, type Store, transaction } from './db.js'
import { refreshTokens, sessions } from './schema.js'

export interface NewSession {
  id: string
  user: string
  device: string
  /** SHA-256 of the first refresh token, in hex. */
  hash: string
  now: Date
  expiresAt: Date
}

/**
 * Whoever ends the user at the same moment waits until this session is there, and ends it too.
 * @returns false when the user may not act any more @throws AppError `unavailable`
 */
export async function insertSession(
  store: Store,
  { id, user, device, hash, now, expiresAt }: NewSession,
): Promise<boolean> {
  return transaction(store, async ({ orm, select }) => {
    // Not FOR SHARE, which MariaDB does not know. Index: the primary key.
    const [owner] = await select<{ ended: number }>(
      'SELECT disabled_at IS NOT NULL OR deleted_at IS NOT NULL AS ended FROM users WHERE id = ? LOCK IN SHARE MODE',
      [user],
    )
    if (Number(owner?.ended ?? 0) === 1) return false
    await orm.insert(sessions).values({ id, user, device, createdAt: now, expiresAt })
    await orm.insert(refreshTokens).values({ hash, session: id, expiresAt })
    return true
  })
}

/** Sessions of a user, the newest first. Index: sessions_user. @throws AppError `unavailable` */
export async function sessionsOf(store: Store, user: string, limit: number): Promise<(typeof sessions.$inferSelect)[]> {
  return store.use(({ orm }) =>
    orm.select().from(sessions).where(eq(sessions.user, user)).orderBy(desc(sessions.createdAt)).limit(limit),
  )
}

export type Rotation =
  | { outcome: 'rotated'; session: string; user: string; device: string }
  /** A used token was shown again: its session is revoked now. */
  | { outcome: 'reused'; session: string; user: string }
  /** Unknown, run out, or of a session that has ended. */
  | { outcome: 'refused' }

/**
 * Trades a refresh token for the next one. Of two trades of the same token exactly one rotates; the other is a reuse.
 * @throws AppError `unavailable`: perhaps it was traded
 */
export async function rotateToken(
  store: Store,
  trade: { hash: string; nextHash: string; now: Date; expiresAt: Date },
): Promise<Rotation> {
  return transaction(store, (db) => rotate(db, trade))
}

async function rotate(
  db: Db,
  trade: { hash: string; nextHash: string; now: Date; expiresAt: Date },
): Promise<Rotation> {
  const { hash, nextHash, now, expiresAt } = trade
  const { orm } = db
  // Index: the primary key of each.
  const [found] = await orm
    .select()
    .from(refreshTokens)
    .innerJoin(sessions, eq(sessions.id, refreshTokens.session))
    .where(eq(refreshTokens.hash, hash))
  if (!found || found.sessions.revokedAt || found.refresh_tokens.expiresAt <= now) return { outcome: 'refused' }
  const { id, user, device } = found.sessions
  // This update is the trade: whoever finds it unused has it, and another one waits here until that is decided.
  const [used] = await orm
    .update(refreshTokens)
    .set({ usedAt: now })
    .where(and(eq(refreshTokens.hash, hash), isNull(refreshTokens.usedAt)))
  if (used.affectedRows === 0) {
    await revoke(db, id, user, now)
    return { outcome: 'reused', session: id, user }
  }
  const [extended] = await orm
    .update(sessions)
    .set({ expiresAt })
    .where(and(eq(sessions.id, id), isNull(sessions.revokedAt)))
  if (extended.affectedRows === 0) return { outcome: 'refused' }
  await orm.insert(refreshTokens).values({ hash: nextHash, session: id, expiresAt })
  // A token that has run out is refused whoever shows it; it need not be remembered. Index: refresh_tokens_session.
  await orm.delete(refreshTokens).where(and(eq(refreshTokens.session, id), lt(refreshTokens.expiresAt, now)))
  return { outcome: 'rotated', session: id, user, device }
}

async function revoke({ orm }: Db, id: string, user: string, now: Date): Promise<void> {
  await orm
    .update(sessions)
    .set({ revokedAt: now })
    .where(and(eq(sessions.id, id), eq(sessions.user, user), isNull(sessions.revokedAt)))
}

/**
 * Ends a session of this user.
 * @returns when it was ended first, in milliseconds; undefined when there is no such session of this user
 * @throws AppError `unavailable`
 */
export async function revokeSession(store: Store, id: string, user: string, now: Date): Promise<number | undefined> {
  return transaction(store, async (db) => {
    await revoke(db, id, user, now)
    const [row] = await db.orm
      .select({ revokedAt: sessions.revokedAt })
      .from(sessions)
      .where(and(eq(sessions.id, id), eq(sessions.user, user)))
    return row?.revokedAt?.getTime()
  })
}

/** Ends every session of a user, or of one device. Index: sessions_user. @returns those that have not run out, whenever they were ended */
export async function revokeAllSessions(db: Db, user: string, now: Date, device?: string): Promise<string[]> {
  const theirs = and(eq(sessions.user, user), device === undefined ? undefined : eq(sessions.device, device))
  await db.orm
    .update(sessions)
    .set({ revokedAt: now })
    .where(and(theirs, isNull(sessions.revokedAt)))
  const rows = await db.orm
    .select({ id: sessions.id })
    .from(sessions)
    .where(and(theirs, gt(sessions.expiresAt, now)))
  return rows.map(({ id }) => id)
}

/**
 * Ends the sessions of a user, all of them or those of one device. Index: sessions_user.
 * @returns those that have not run out, whenever they were ended @throws AppError `unavailable`
 */
export async function revokeSessions(
  store: Store,
  { user, device }: { user: string; device?: string },
  now: Date,
): Promise<string[]> {
  return transaction(store, (db) => revokeAllSessions(db, user, now, device))
}

/** The sessions of a user that have not ended, the newest first. Index: sessions_user. @throws AppError `unavailable` */
export async function liveSignIns(
  store: Store,
  user: string,
  now: Date,
  most: number,
): Promise<{ id: string; device: string; createdAt: Date; expiresAt: Date }[]> {
  return store.use(({ orm }) =>
    orm
      .select({
        id: sessions.id,
        device: sessions.device,
        createdAt: sessions.createdAt,
        expiresAt: sessions.expiresAt,
      })
      .from(sessions)
      .where(and(eq(sessions.user, user), isNull(sessions.revokedAt), gt(sessions.expiresAt, now)))
      .orderBy(desc(sessions.createdAt))
      .limit(most),
  )
}

/** Sessions revoked after `since`. Index: sessions_revoked_at. @throws AppError `unavailable` */
export async function revokedSince(store: Store, since: Date): Promise<{ id: string; revokedAt: number }[]> {
  const rows = await store.use(({ orm }) =>
    orm.select({ id: sessions.id, revokedAt: sessions.revokedAt }).from(sessions).where(gt(sessions.revokedAt, since)),
  )
  return rows.map(({ id, revokedAt }) => ({ id, revokedAt: revokedAt!.getTime() }))
}

/**
 * Forgets sessions that ran out before `before`, with their tokens: at most `limit` of them.
 * Indexes: sessions_expires_at, refresh_tokens_session.
 * @returns how many @throws AppError `unavailable`
 */
export async function forgetSessions(store: Store, before: Date, limit = 500): Promise<number> {
  return transaction(store, async (db) => {
    const old = await db.select<{ id: string }>('SELECT id FROM sessions WHERE expires_at < ? LIMIT ?', [before, limit])
    if (old.length === 0) return 0
    const ids = old.map(({ id }) => id).sort()
    await db.run('DELETE FROM refresh_tokens WHERE session IN (?)', [ids])
    return db.run('DELETE FROM sessions WHERE id IN (?)', [ids])
  })
}
