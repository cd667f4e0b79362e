/**
 * The tables. Ids are ascii_bin, so that MySQL compares them byte for byte as Redis and we do: `Alice` is not `alice`. People's text
 * is utf8mb4. Every column states its character set, whatever the server's default is.
 */
import { bigint, customType, datetime, index, int, mysqlTable, primaryKey } from 'drizzle-orm/mysql-core'

const ascii = customType<{ data: string; config: { length: number } }>({
  dataType: (config) => `varchar(${config?.length}) CHARACTER SET ascii COLLATE ascii_bin`,
})
/** Text of people: any Unicode, kept and compared as written. */
const unicode = customType<{ data: string; config: { length: number } }>({
  dataType: (config) => `varchar(${config?.length}) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin`,
})
/** Not the JSON type: that would re-order keys and round numbers. The very text is kept. */
const jsonText = customType<{ data: string }>({
  dataType: () => 'mediumtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin',
})
/** 64 bits as a decimal string; a JavaScript number would round it. */
const snowflake = customType<{ data: string }>({ dataType: () => 'bigint unsigned' })

const userId = (name = 'user') => ascii(name, { length: 64 })
const deviceName = (name = 'device') => ascii(name, { length: 64 })
/** The longest is `dm:` with two user ids. */
const conversationId = (name = 'conversation') => ascii(name, { length: 140 })
const count = (name: string) => bigint(name, { mode: 'number', unsigned: true })
const moment = (name: string) => datetime(name, { mode: 'date', fsp: 3 })

/** A row is never removed: the name of a deleted account is not given out again. */
export const users = mysqlTable('users', {
  id: userId('id').primaryKey(),
  displayName: unicode('display_name', { length: 100 }).notNull(),
  /** Null for people of an outside identity provider, and after deletion. */
  passwordHash: ascii('password_hash', { length: 255 }),
  createdAt: moment('created_at').notNull(),
  disabledAt: moment('disabled_at'),
  deletedAt: moment('deleted_at'),
})

export const sessions = mysqlTable(
  'sessions',
  {
    id: ascii('id', { length: 32 }).primaryKey(),
    user: userId().notNull(),
    device: deviceName().notNull(),
    createdAt: moment('created_at').notNull(),
    /** When the newest refresh token runs out. */
    expiresAt: moment('expires_at').notNull(),
    revokedAt: moment('revoked_at'),
  },
  (table) => [
    index('sessions_user').on(table.user),
    index('sessions_revoked_at').on(table.revokedAt),
    index('sessions_expires_at').on(table.expiresAt),
  ],
)

/** Every refresh token of a session that has not run out, by its SHA-256. At most one is unused: the current one. */
export const refreshTokens = mysqlTable(
  'refresh_tokens',
  {
    hash: ascii('hash', { length: 64 }).primaryKey(),
    session: ascii('session', { length: 32 }).notNull(),
    usedAt: moment('used_at'),
    expiresAt: moment('expires_at').notNull(),
  },
  (table) => [index('refresh_tokens_session').on(table.session, table.expiresAt)],
)

export const entries = mysqlTable(
  'entries',
  {
    conversation: conversationId().notNull(),
    seq: count('seq').notNull(),
    /** Null for a tombstone: its entry was never stored. */
    id: snowflake('id').unique('entries_id'),
    n: count('n').notNull(),
    from: userId('from_user').notNull(),
    type: ascii('type', { length: 64 }).notNull(),
    content: jsonText('content').notNull(),
    clientId: ascii('client_id', { length: 64 }).notNull(),
    sentAt: count('sent_at').notNull(),
    /** First seq of the range, for a row of type `void`, which stands at its last. */
    voidFrom: count('void_from'),
    /** Why, for a tombstone. */
    reason: unicode('reason', { length: 255 }),
  },
  (table) => [primaryKey({ name: 'entries_pk', columns: [table.conversation, table.seq] })],
)

export const conversationMembers = mysqlTable(
  'conversation_members',
  {
    user: userId().notNull(),
    conversation: conversationId().notNull(),
    kind: ascii('kind', { length: 8 }).notNull(),
    joinedSeq: count('joined_seq').notNull().default(0),
    createdAt: moment('created_at').notNull(),
  },
  (table) => [
    primaryKey({ name: 'conversation_members_pk', columns: [table.user, table.conversation] }),
    index('conversation_members_conversation').on(table.conversation),
  ],
)

export const cursors = mysqlTable(
  'cursors',
  {
    user: userId().notNull(),
    device: deviceName().notNull(),
    conversation: conversationId().notNull(),
    seq: count('seq').notNull(),
    updatedAt: moment('updated_at').notNull(),
  },
  (table) => [primaryKey({ name: 'cursors_pk', columns: [table.user, table.device, table.conversation] })],
)

export const devices = mysqlTable(
  'devices',
  {
    user: userId().notNull(),
    device: deviceName().notNull(),
    firstSeen: moment('first_seen').notNull(),
  },
  (table) => [primaryKey({ name: 'devices_pk', columns: [table.user, table.device] })],
)

export const reads = mysqlTable(
  'reads',
  {
    user: userId().notNull(),
    conversation: conversationId().notNull(),
    seq: count('seq').notNull(),
    n: count('n').notNull(),
    updatedAt: moment('updated_at').notNull(),
  },
  (table) => [primaryKey({ name: 'reads_pk', columns: [table.user, table.conversation] })],
)

/** The highest owner of a partition that has written; a lower one may not. */
export const partitionFences = mysqlTable(
  'partition_fences',
  {
    group: ascii('group_name', { length: 32 }).notNull(),
    partition: int('partition_no').notNull(),
    fence: count('fence').notNull(),
  },
  (table) => [primaryKey({ name: 'partition_fences_pk', columns: [table.group, table.partition] })],
)

/** Under which number a partition was last opened for appends: what Redis may forget. */
export const partitionGenerations = mysqlTable('partition_generations', {
  partition: int('partition_no').primaryKey(),
  number: count('number').notNull(),
  /** The word of a clean stop that was not opened since, or ''. */
  closed: ascii('closed', { length: 32 }).notNull(),
  beganAt: moment('began_at').notNull(),
})

/** Facts about the data set itself, such as its number of partitions. */
export const meta = mysqlTable('meta', {
  name: ascii('name', { length: 64 }).primaryKey(),
  value: unicode('value', { length: 255 }).notNull(),
})
