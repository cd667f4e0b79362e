/** Every Redis key, spelled once. The braces are a hash tag: on a Redis Cluster all keys of a partition share a slot. */
import { partitionOf } from './partition.js'

export const GROUPS = ['push', 'persist'] as const
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
  /** string: the head of a conversation */
  seq(conversation: string): string
  /** string: how many seqs of a conversation no person counts as messages; missing means none */
  skip(conversation: string): string
  /** stream: the newest entries of a conversation, entry id `<seq>-0` */
  log(conversation: string): string
  /** hash: who is in a room, user to `<seq of joining>:<muted until>`; and `*` to what members.ts says */
  members(conversation: string): string
  /** hash: user to `<seq>:<n>` up to which the user has read; one's own send moves it */
  read(conversation: string): string
  /** string, 24 h: a digest of the body and the answer first given; `from` is empty for a change of members */
  once(conversation: string, from: string, clientId: string): string
  /** set: the conversations of a user */
  conversations(user: string): string
  /** hash: device to milliseconds when it was first seen */
  devices(user: string): string
  /** hash: conversation to the seq that the device has acknowledged */
  cursor(user: string, device: string): string
  /** sorted set: revoked session ids by the time, in ms, when they were revoked */
  revoked(): string
  /** string, 60 s: whom a one-use WebSocket ticket stands for; by the ticket's digest */
  ticket(digest: string): string
  /** hash: `level` of a bucket of tokens and `at`, when it had it; by what is limited and for whom. Until it is full again */
  rate(kind: string, whom: string): string
  /** hash: `tries` to sign in that failed and `next`, when another one counts; by name or address. 15 min */
  tries(kind: string, whom: string): string
}

/** @param namespace first word of every key, `tidings` unless instances share a Redis */
export function createKeys(namespace: string, partitions: number): Keys {
  const of = (name: string): number => partitionOf(name, partitions)
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
    seq: (c) => key(of(c), `seq:${c}`),
    skip: (c) => key(of(c), `skip:${c}`),
    log: (c) => key(of(c), `log:${c}`),
    members: (c) => key(of(c), `members:${c}`),
    read: (c) => key(of(c), `read:${c}`),
    once: (c, from, clientId) => key(of(c), `once:${c}:${from}:${clientId}`),
    conversations: (u) => key(of(u), `conversations:${u}`),
    devices: (u) => key(of(u), `devices:${u}`),
    cursor: (u, device) => key(of(u), `cursor:${u}:${device}`),
    revoked: () => key(0, 'revoked'),
    ticket: (digest) => key(of(digest), `ticket:${digest}`),
    rate: (kind, whom) => key(of(whom), `rate:${kind}:${whom}`),
    tries: (kind, whom) => key(of(whom), `tries:${kind}:${whom}`),
  }
}
