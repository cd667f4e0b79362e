/** The tables of notify: webhooks and what is due to them, push subscriptions and what is due to their devices. */
import { bigint, boolean, index, int, mysqlTable, primaryKey, unique } from 'drizzle-orm/mysql-core'
import { ascii, conversationId, count, deviceName, jsonText, moment, snowflake, unicode, userId } from './columns.js'

/** Endpoints of a team's own servers that are told of events. */
export const webhooks = mysqlTable('webhooks', {
  id: ascii('id', { length: 24 }).primaryKey(),
  url: ascii('url', { length: 2048 }).notNull(),
  /** Words with commas between them: `message`, `room`, `receipt`, `presence`. */
  events: ascii('events', { length: 64 }).notNull(),
  /** JSON arrays of ids: where both are empty, everything is told. */
  rooms: jsonText('rooms').notNull(),
  users: jsonText('users').notNull(),
  /** In clear: deliveries are signed with it. */
  secret: ascii('secret', { length: 128 }).notNull(),
  /** What it was before; until then it signs, too. */
  oldSecret: ascii('old_secret', { length: 128 }),
  oldSecretUntil: moment('old_secret_until'),
  /** Name of the service token that made it. */
  createdBy: ascii('created_by', { length: 64 }).notNull(),
  createdAt: moment('created_at').notNull(),
  disabledAt: moment('disabled_at'),
  /** `operator` or `gone`. */
  disabledBecause: ascii('disabled_because', { length: 32 }),
  /** Events that were not taken because too many were due. */
  dropped: count('dropped').notNull().default(0),
})

/** What is due to webhooks, and what was given up. A row goes when the endpoint has taken it. */
export const deliveries = mysqlTable(
  'deliveries',
  {
    id: bigint('id', { mode: 'number', unsigned: true }).primaryKey().autoincrement(),
    webhook: ascii('webhook', { length: 24 }).notNull(),
    eventId: ascii('event_id', { length: 64 }).notNull(),
    /** What is posted, as text: it is signed. */
    body: jsonText('body').notNull(),
    createdAt: moment('created_at').notNull(),
    /** From when on the time for retries counts: an operator may begin it anew. */
    retryFrom: moment('retry_from').notNull(),
    /** Null for a dead letter. Whoever sends it moves it ahead first. */
    dueAt: moment('due_at'),
    tries: int('tries').notNull(),
    deadAt: moment('dead_at'),
    lastError: unicode('last_error', { length: 255 }),
  },
  (table) => [
    unique('deliveries_event').on(table.webhook, table.eventId),
    index('deliveries_due').on(table.webhook, table.dueAt),
    index('deliveries_dead').on(table.webhook, table.deadAt),
  ],
)

/** Where a device is reached while it is not connected. */
export const pushSubscriptions = mysqlTable(
  'push_subscriptions',
  {
    id: bigint('id', { mode: 'number', unsigned: true }).primaryKey().autoincrement(),
    user: userId().notNull(),
    device: deviceName().notNull(),
    endpoint: ascii('endpoint', { length: 1024 }).notNull(),
    /** SHA-256 in hex: one browser is one person's at a time. */
    endpointHash: ascii('endpoint_hash', { length: 64 }).notNull(),
    p256dh: ascii('p256dh', { length: 128 }).notNull(),
    auth: ascii('auth', { length: 64 }).notNull(),
    createdAt: moment('created_at').notNull(),
  },
  (table) => [
    unique('push_subscriptions_device').on(table.user, table.device),
    unique('push_subscriptions_endpoint').on(table.endpointHash),
  ],
)

/** What devices are pushed unless they acknowledge it before: one row for a device and a conversation. */
export const pushDue = mysqlTable(
  'push_due',
  {
    user: userId().notNull(),
    device: deviceName().notNull(),
    conversation: conversationId().notNull(),
    /** Of the newest entry. */
    seq: count('seq').notNull(),
    id: snowflake('id').notNull(),
    from: userId('from_user').notNull(),
    /** The beginning of its text, where that may be shown; else ''. */
    preview: unicode('preview', { length: 255 }).notNull(),
    /** Unix milliseconds from which on nobody wants to hear of any of its entries. */
    expiresAt: count('expires_at'),
    /** One of them was pushed with the priority `high`. */
    urgent: boolean('urgent').notNull().default(false),
    /** Of the first entry that was not pushed. */
    createdAt: moment('created_at').notNull(),
    dueAt: moment('due_at').notNull(),
    tries: int('tries').notNull(),
  },
  (table) => [
    primaryKey({ name: 'push_due_pk', columns: [table.user, table.device, table.conversation] }),
    index('push_due_due_at').on(table.dueAt),
  ],
)

/** What is pushed to the people of a large room, or to everyone, see push-passes.ts: a row for the conversation. */
export const pushPasses = mysqlTable(
  'push_passes',
  {
    conversation: conversationId().primaryKey(),
    /** What is below it is done with. */
    firstSeq: count('first_seq').notNull(),
    /** Of the newest entry. */
    seq: count('seq').notNull(),
    /** When that was sent, in milliseconds since 1970. */
    newestAt: count('newest_at').notNull(),
    /** Of the entry that the pass which runs tells of; 0 between two passes. */
    passSeq: count('pass_seq').notNull().default(0),
    /** Whom that pass has reached, in the order of names. */
    afterUser: ascii('after_user', { length: 64 }).notNull().default(''),
    /** Rises each time a page is lent. */
    fence: count('fence').notNull().default(0),
    /** Null: nothing is due. Whoever does a page moves it ahead first. */
    dueAt: moment('due_at'),
  },
  (table) => [index('push_passes_due_at').on(table.dueAt)],
)
