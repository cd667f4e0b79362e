/** What a fault is. To add one: an object in the file of its target, and its name in the table of `all.ts`. */
import type { AppName } from '../cluster/app.js'
import type { Cluster, Need } from '../cluster/cluster.js'
import type { RedisKind } from '../cluster/redis.js'
import type { Chance } from '../load/chance.js'
import type { Crowd } from '../load/crowd.js'
import type { Kept } from '../load/sender.js'
import type { Rewrite } from '../rewrite/rewrite.js'

export interface FaultContext {
  readonly cluster: Cluster
  readonly crowd: Crowd
  readonly chance: Chance
  /** Lets the fault last: so many milliseconds at full length, less in a short run. */
  hold(ms: number): Promise<void>
  /** The proof that the fault has happened. */
  bit(proof: string): void
  /** Says that this entry is made so that it can never be stored. */
  poison(entry: { conv?: string; seq?: number; clientId?: string; id?: string }): void
  /** From here on the time to recovery counts. Said by itself when `run` returns. */
  healed(): void
  /** Waits until a fresh message is accepted, on every live device and in MySQL; the time since `healed` is the recovery. */
  recovered(): Promise<void>
  /** Waits until all live devices of the conversation show this message. @returns whether they do in time */
  shown(kept: Kept, withinMs: number): Promise<boolean>
}

export interface Fault {
  /** Its row in the fault matrix, with a letter where one row has several. */
  row: string
  name: string
  /** Longest recovery, in milliseconds. */
  boundMs: number
  /** Sends are promised to be accepted while it lasts. */
  available: boolean
  /** Afterwards seqs may be declared void. */
  voids?: boolean
  /** Redis may forget a tail. */
  tailLost?: boolean
  /** Changes of the compiled code that it needs, asleep until it arms them. @param folder for the files that arm them */
  rewrites?(folder: string): Partial<Record<AppName, readonly Rewrite[]>>
  /** The Redis it needs: one server, unless said. */
  redis?: RedisKind
  /** It takes somebody who changes messages. */
  changes?: boolean
  /** Known to break a promise, and how: done only when it is named. */
  open?: string
  /** What the cluster must have beside its usual parts. */
  needs?: readonly Need[]
  /** Harms, proves, and mends. What it leaves broken is mended for it: links healed, processes woken or started again. */
  run(context: FaultContext): Promise<void>
}
