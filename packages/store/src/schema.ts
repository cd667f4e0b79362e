/** The tables, but for those of notify (schema-notify.ts). */
import { bigint, boolean, index, int, mysqlTable, primaryKey, unique } from 'drizzle-orm/mysql-core'
import {
  ascii,
  asciiText,
  conversationId,
  count,
  deviceName,
  jsonText,
  moment,
  snowflake,
  unicode,
  userId,
} from './columns.js'

/** A row is never removed: the name of a deleted account is not given out again. */
export const users = mysqlTable(
  'users',
  {
    id: userId('id').primaryKey(),
    displayName: unicode('display_name', { length: 100 }).notNull(),
    /** Null for people of an outside identity provider, and after deletion. */
    passwordHash: ascii('password_hash', { length: 255 }),
    createdAt: moment('created_at').notNull(),
    disabledAt: moment('disabled_at'),
    deletedAt: moment('deleted_at'),
    /** The head of `feed:*` when the row was made: the user is shown what was pushed to everyone since. */
    feedStart: count('feed_start').notNull().default(0),
  },
  (table) => [index('users_disabled_at').on(table.disabledAt), index('users_deleted_at').on(table.deletedAt)],
)

/** Whose direct messages a user does not want. */
export const blocks = mysqlTable(
  'blocks',
  {
    user: userId().notNull(),
    blocked: userId('blocked').notNull(),
    createdAt: moment('created_at').notNull(),
  },
  (table) => [
    primaryKey({ name: 'blocks_pk', columns: [table.user, table.blocked] }),
    index('blocks_created_at').on(table.createdAt),
  ],
)

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
    /** What a server asked for when it pushed this, see protocol's options.ts. */
    options: ascii('options', { length: 255 }),
    /** Why, for a tombstone. */
    reason: unicode('reason', { length: 255 }),
    /** What later entries have made of it (fold.ts of protocol); its content is then the one that counts. Null for nearly all. */
    fold: jsonText('fold'),
  },
  (table) => [primaryKey({ name: 'entries_pk', columns: [table.conversation, table.seq] })],
)

export const conversationMembers = mysqlTable(
  'conversation_members',
  {
    user: userId().notNull(),
    conversation: conversationId().notNull(),
    kind: ascii('kind', { length: 8 }).notNull(),
    /** In a room: the seq at which the user joined; 0 until the entry that says so is in the log. */
    joinedSeq: count('joined_seq').notNull().default(0),
    createdAt: moment('created_at').notNull(),
    /** In a room: `owner`, `admin` or `member`. */
    role: ascii('role', { length: 16 }).notNull().default('member'),
    /** Milliseconds since 1970; 0: not muted. */
    mutedUntil: count('muted_until').notNull().default(0),
  },
  (table) => [
    primaryKey({ name: 'conversation_members_pk', columns: [table.user, table.conversation] }),
    index('conversation_members_conversation').on(table.conversation),
  ],
)

/** A row is never removed: an id is not given out again. */
export const rooms = mysqlTable(
  'rooms',
  {
    id: ascii('id', { length: 16 }).primaryKey(),
    name: unicode('name', { length: 100 }).notNull(),
    /** `permanent` or `temporary` */
    kind: ascii('kind', { length: 16 }).notNull(),
    /** `public` or `private` */
    visibility: ascii('visibility', { length: 16 }).notNull(),
    /** `all` or `joined`: what somebody may read who joined later. */
    history: ascii('history', { length: 16 }).notNull(),
    /** Rises with every change of the room or of its members. */
    version: count('version').notNull(),
    memberCount: int('member_count').notNull(),
    createdBy: userId('created_by').notNull(),
    createdAt: moment('created_at').notNull(),
    endsAt: moment('ends_at'),
    deletedAt: moment('deleted_at'),
    /** Days after which entries are removed; 0: as everywhere. */
    retentionDays: int('retention_days', { unsigned: true }).notNull().default(0),
  },
  (table) => [
    index('rooms_visibility').on(table.visibility, table.deletedAt, table.id),
    index('rooms_ends_at').on(table.endsAt),
    index('rooms_retention').on(table.retentionDays, table.id),
  ],
)

/** Rooms that somebody has left, was removed from, or that have ended, with when that was last. */
export const leftRooms = mysqlTable(
  'left_rooms',
  {
    user: userId().notNull(),
    conversation: conversationId().notNull(),
    leftAt: moment('left_at').notNull(),
    /** Of the mute that the user left with, which holds for one who comes back: milliseconds since 1970; 0: none. */
    mutedUntil: count('muted_until').notNull().default(0),
  },
  (table) => [primaryKey({ name: 'left_rooms_pk', columns: [table.user, table.conversation] })],
)

export const roomBans = mysqlTable(
  'room_bans',
  {
    room: ascii('room', { length: 16 }).notNull(),
    user: userId().notNull(),
    bannedBy: userId('banned_by').notNull(),
    createdAt: moment('created_at').notNull(),
  },
  (table) => [primaryKey({ name: 'room_bans_pk', columns: [table.room, table.user] })],
)

/** Changes that are committed here and are on their way into the logs. A row goes when its entry is stored. */
export const outbox = mysqlTable(
  'outbox',
  {
    id: bigint('id', { mode: 'number', unsigned: true }).primaryKey().autoincrement(),
    conversation: conversationId().notNull(),
    clientId: ascii('client_id', { length: 64 }).notNull(),
    from: userId('from_user').notNull(),
    type: ascii('type', { length: 64 }).notNull(),
    content: jsonText('content').notNull(),
    /** What the append changes of the members, see `MemberChange` in stream; as JSON. */
    change: jsonText('change').notNull(),
    createdAt: moment('created_at').notNull(),
    /** Where it lies once it was appended. */
    seq: count('seq'),
    appendedAt: moment('appended_at'),
  },
  (table) => [unique('outbox_client_id').on(table.conversation, table.clientId)],
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

/** An uploaded file; its bytes lie elsewhere, under its id. */
export const files = mysqlTable(
  'files',
  {
    id: ascii('id', { length: 22 }).primaryKey(),
    owner: userId('owner').notNull(),
    name: unicode('name', { length: 255 }).notNull(),
    mediaType: ascii('media_type', { length: 127 }).notNull(),
    /** While it is being uploaded: what is set aside for it. */
    size: count('size').notNull(),
    sha256: ascii('sha256', { length: 64 }),
    /** Of an image, where its first bytes tell. */
    width: int('width', { unsigned: true }),
    height: int('height', { unsigned: true }),
    /** Rows of `file_uses`. */
    uses: int('uses', { unsigned: true }).notNull().default(0),
    createdAt: moment('created_at').notNull(),
    /** Null until all of it is there. */
    storedAt: moment('stored_at'),
    /** Null while a message refers to it. */
    unusedSince: moment('unused_since'),
    /** Nobody reads it any more; the row goes after the bytes. */
    deletedAt: moment('deleted_at'),
  },
  (table) => [
    index('files_owner').on(table.owner, table.size),
    index('files_unused_since').on(table.unusedSince),
    index('files_deleted_at').on(table.deletedAt),
  ],
)

/** Which messages refer to a file. Written before the message is: whether there is such a message, only the log and `entries` tell. */
export const fileUses = mysqlTable(
  'file_uses',
  {
    file: ascii('file', { length: 22 }).notNull(),
    message: snowflake('message').notNull(),
    conversation: conversationId().notNull(),
    /** The head when this was written: the message stands above it. */
    above: count('above').notNull(),
    /** Null once the message was seen in `entries`. */
    unprovenSince: moment('unproven_since'),
  },
  (table) => [
    primaryKey({ name: 'file_uses_pk', columns: [table.file, table.message] }),
    index('file_uses_message').on(table.message),
    index('file_uses_unproven_since').on(table.unprovenSince),
  ],
)

/** What a user has set for a conversation, and nobody else sees. */
export const conversationFlags = mysqlTable(
  'conversation_flags',
  {
    user: userId().notNull(),
    conversation: conversationId().notNull(),
    /** Milliseconds since 1970; 0: not muted; MUTED_FOR_EVER in flags.ts. */
    mutedUntil: count('muted_until').notNull().default(0),
    pinned: boolean('pinned').notNull().default(false),
    updatedAt: moment('updated_at').notNull(),
  },
  (table) => [primaryKey({ name: 'conversation_flags_pk', columns: [table.user, table.conversation] })],
)

/** What one process at a time does, see jobs.ts. */
export const jobs = mysqlTable('jobs', {
  name: ascii('name', { length: 64 }).primaryKey(),
  owner: ascii('owner', { length: 64 }).notNull(),
  /** Rises with every owner: an earlier one writes nothing any more. */
  fence: count('fence').notNull(),
  until: moment('until').notNull(),
  /** How far it has got, where it wants to remember that. */
  position: snowflake('position').notNull(),
})

/** Up to which seq the words of a conversation's messages are in `search_entries`. */
export const searchHeads = mysqlTable('search_heads', {
  conversation: conversationId().primaryKey(),
  seq: count('seq').notNull(),
})

/** The words of messages, see search-words.ts. A FULLTEXT index is on `words`. */
export const searchEntries = mysqlTable(
  'search_entries',
  {
    conversation: conversationId().notNull(),
    seq: count('seq').notNull(),
    id: snowflake('id').notNull(),
    from: userId('from_user').notNull(),
    sentAt: count('sent_at').notNull(),
    words: asciiText('words').notNull(),
  },
  (table) => [primaryKey({ name: 'search_entries_pk', columns: [table.conversation, table.seq] })],
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
