/** Which sessions the suite `routes` lists, and where: both the process that writes them and the one that mirrors them know it by heart. */
import { nowUs } from './clock.js'
import type { Latency } from './figures.js'

/** Instances that share an etcd differ in this; ours is alone. */
export const NAMESPACE = 'tidings'
/** As many as one connect process holds on a machine that is full. */
export const PER_NODE = 20_000

/** Before the first node dies, when it is dead, and when its users are back elsewhere. */
export type Phase = 'all' | 'dead' | 'back'

/** Every fourth user has two sessions, on one node or on two. */
export class SessionPlan {
  readonly users: number
  readonly nodes: number

  constructor(readonly sessions: number) {
    this.users = Math.ceil(sessions * 0.8)
    this.nodes = Math.max(2, Math.round(sessions / PER_NODE))
  }

  userOf(session: number): number {
    return session < this.users ? session : session - this.users
  }

  /** The number of the session's node; nothing when it is with nobody. */
  nodeOf(session: number, phase: Phase): number | undefined {
    const user = this.userOf(session)
    const node = (user + (session < this.users || user % 3 === 0 ? 0 : 1)) % this.nodes
    if (node !== 0 || phase === 'all') return node
    return phase === 'dead' ? undefined : 1 + (session % (this.nodes - 1))
  }

  /** Sessions on the node that dies. */
  get mortal(): number[] {
    return Array.from({ length: this.sessions }, (_, i) => i).filter((i) => this.nodeOf(i, 'all') === 0)
  }

  /** Names of the nodes that a user's sessions are on. */
  nodesOf(user: number, phase: Phase): string[] {
    const second = user + this.users
    const sessions = second < this.sessions ? [user, second] : [user]
    const nodes = sessions.flatMap((session) => this.nodeOf(session, phase) ?? [])
    return [...new Set(nodes)].map(nodeName).sort()
  }
}

export const userName = (user: number): string => `user-${String(user).padStart(9, '0')}`
export const nodeName = (node: number): string => `connect-${node + 1}`

/** What the process with the mirror is told. */
export type MirrorCommand =
  | { do: 'load'; etcdUrl: string; sessions: number }
  /** Time look-ups, of users who are there and of others. */
  | { do: 'time' }
  /** From now on note how late look-ups are. */
  | { do: 'watch' }
  /** Tell when so many sessions are known, and how late look-ups were until then. */
  | { do: 'until'; sessions: number }
  /** Hold every user against the plan. */
  | { do: 'check'; phase: Phase }

export interface Loaded {
  ms: number
  cpuMs: number
  /** Of heap and buffers, per session, after a collection. */
  bytesPerSession: number
  heapBytesPerSession: number
  /** The most that was resident while it was read. */
  peakMib: number
  residentMib: number
}

export interface Timed {
  knownNs: number
  unknownNs: number
}

/** How look-ups fared over a while. */
export interface Stretch {
  /** When so many sessions were known, on the clock of all processes. */
  atUs: number
  /** When the number first changed, on that clock. */
  firstUs: number
  /** CPU of the mirror's process, look-ups included. */
  cpuMs: number
  /** How much later than it was due a look-up was made: what an entry would have waited. */
  late: Latency
}

export type MirrorAnswer = Loaded | Timed | Stretch | { wrong: string[] } | { failed: string }

/** Milliseconds since a moment of that clock. */
export const sinceMs = (us: number): number => (nowUs() - us) / 1_000
