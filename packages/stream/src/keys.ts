/** Every Redis key, spelled once. The braces are a hash tag: on a Redis Cluster all keys of a partition share a slot. */
import { partitionOf } from './partition.js'
import { remembered } from './remembered.js'

export const GROUPS = ['push', 'persist', 'notify'] as const
export type Group = (typeof GROUPS)[number]

export interface Keys {
  readonly namespace: string
  readonly partitions: number
  partitionOf(name: string): number
  /** stream: every accepted entry of a partition */
  messages(partition: number): string
  /** stream: what a group gave up on */
  dead(partition: number, group: Group): string
  /** sorted set: conversation by the time of its last entry, milliseconds of Redis' own clock, for the last hour */
  recent(partition: number): string
  /** string: the stream id below which a group has settled everything */
  mark(partition: number, group: Group): string
  /** string: the highest fence that settled for a group */
  fence(partition: number, group: Group): string
  /** string: `<number> <server id>`, see generation.ts; behind the number `closed:<word>` after a clean stop */
  generation(partition: number): string
  /** set: the conversations whose head is known to be beyond all that was given out before this generation */
  leapt(partition: number): string
  // Of a conversation. Its partition need not be given; computing it costs more than the rest of a key.
  /** string: the head */
  seq(conversation: string, partition?: number): string
  /** string: how many seqs no person counts as messages; missing means none */
  skip(conversation: string, partition?: number): string
  /** stream: the newest entries, entry id `<seq>-0` */
  log(conversation: string, partition?: number): string
  /** hash: seq of an entry to what later entries have made of it, see fold.ts of protocol; missing while nothing was changed */
  fold(conversation: string, partition?: number): string
  /** string, 30 days: the seq of the newest entry that a server pushed with this key */
  collapse(conversation: string, from: string, collapseKey: string, partition?: number): string
  /** hash: who is in a room, user to `<seq of joining>:<muted until>`; and `*` to what members.ts says */
  members(conversation: string, partition?: number): string
  /** hash: user to `<seq>:<n>` up to which the user has read; one's own send moves it */
  read(conversation: string, partition?: number): string
  /** string, 24 h: a digest of the body and the answer first given; `from` is empty for a change of members */
  once(conversation: string, from: string, clientId: string, partition?: number): string
  /** set: the conversations of a user */
  conversations(user: string): string
  /** hash: device to milliseconds when it was first seen */
  devices(user: string): string
  /** hash: conversation to the seq that the device has acknowledged */
  cursor(user: string, device: string): string
  /** string, 90 days: milliseconds when the user was last here */
  seen(user: string): string
  /** sorted set: revoked session ids by the time, in ms, when they were revoked */
  revoked(): string
  /** string, 60 s: whom a one-use WebSocket ticket stands for; by the ticket's digest */
  ticket(digest: string): string
  /** hash: `level` of a bucket of tokens and `at`, when it had it; by what is limited and for whom. Until it is full again */
  rate(kind: string, whom: string): string
  /** string, 90 s: which export of a user's data runs now */
  export(user: string): string
  /** hash: `tries` to sign in that failed and `next`, when another one counts; by name or address. 15 min */
  tries(kind: string, whom: string): string
  /** string, 11 min: a signed request of an operator was seen; by key and nonce */
  nonce(key: string, nonce: string): string
  /** sorted set: messages with a flagged word, `<id> <JSON>`, ids with leading zeros; the newest 10,000 */
  flagged(): string
}

/** The channel of what may be lost. No key: Redis keeps nothing of it. */
export const ephemeralChannel = ({ namespace }: Pick<Keys, 'namespace'>): string => `${namespace}:ephemeral`

/** @param namespace first word of every key, `tidings` unless instances share a Redis */
export function createKeys(namespace: string, partitions: number): Keys {
  const of = remembered((name) => partitionOf(name, partitions))
  const key = (partition: number, rest: string): string => `${namespace}:{${partition}}:${rest}`
  return {
    namespace,
    partitions,
    partitionOf: of,
    messages: (p) => key(p, 'messages'),
    dead: (p, group) => key(p, `dead:${group}`),
    recent: (p) => key(p, 'recent'),
    mark: (p, group) => key(p, `mark:${group}`),
    fence: (p, group) => key(p, `fence:${group}`),
    generation: (p) => key(p, 'generation'),
    leapt: (p) => key(p, 'leapt'),
    seq: (c, p = of(c)) => key(p, `seq:${c}`),
    skip: (c, p = of(c)) => key(p, `skip:${c}`),
    log: (c, p = of(c)) => key(p, `log:${c}`),
    fold: (c, p = of(c)) => key(p, `fold:${c}`),
    collapse: (c, from, collapseKey, p = of(c)) => key(p, `collapse:${c}:${from}:${collapseKey}`),
    members: (c, p = of(c)) => key(p, `members:${c}`),
    read: (c, p = of(c)) => key(p, `read:${c}`),
    once: (c, from, clientId, p = of(c)) => key(p, `once:${c}:${from}:${clientId}`),
    conversations: (u) => key(of(u), `conversations:${u}`),
    devices: (u) => key(of(u), `devices:${u}`),
    cursor: (u, device) => key(of(u), `cursor:${u}:${device}`),
    seen: (u) => key(of(u), `seen:${u}`),
    revoked: () => key(0, 'revoked'),
    ticket: (digest) => key(of(digest), `ticket:${digest}`),
    rate: (kind, whom) => key(of(whom), `rate:${kind}:${whom}`),
    export: (u) => key(of(u), `export:${u}`),
    tries: (kind, whom) => key(of(whom), `tries:${kind}:${whom}`),
    nonce: (name, nonce) => key(of(name), `nonce:${name}:${nonce}`),
    flagged: () => key(0, 'flagged'),
  }
}
