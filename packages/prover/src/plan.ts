/** What a run is about, as the checker needs to know it: one line of a history. */

export interface Plan {
  seed: number
  /** Conversation to the users who may see it. */
  members: Record<string, string[]>
  /** Who sends for the prover and its faults: no part of the crowd. */
  prober: string
  /** `<user>/<device>` to where it begins: at the first entry, or after what the user has acknowledged when it first came. */
  devices: Record<string, 'first' | 'later'>
  /** A generation may change or an operator act: then seqs may be declared void. */
  voids: boolean
  /** Redis may lose a tail: an accepted entry that its sender sent again stands at its new place. */
  tailLost: boolean
  /** So many accepted sends make a run that proves something. */
  leastAccepted: number
  /** So many accepted changes and pushes do; none where there are none. */
  leastChanges?: number
  /** Measured recovery times may exceed the bounds by this factor: 1 on a machine of one's own. */
  slack: number
}

/** What is tried, where it is no message of a user: what a line of `send` carries beside the entry. */
export type Doing =
  | {
      what: 'edit' | 'recall' | 'add' | 'remove'
      /** The message that is to be changed, by what its sender calls it: its seq may be another after a lost tail. */
      target: { from: string; clientId: string }
      /** Of a reaction. */
      emoji?: string
      /** Whoever tries this may not. */
      forbidden?: true
    }
  | { what: 'push'; ttl?: number; collapseKey?: string }

/** What the fault lines carry beside the name. */
export interface FaultLine {
  /** Its number in the fault matrix of RELIABILITY.md, with a letter where one row has several. */
  row: string
  name: string
  phase: 'inject' | 'bit' | 'poison' | 'heal' | 'recovered' | 'failed'
  /** inject: sends are promised to be accepted meanwhile. */
  available?: boolean
  /** inject: Redis may forget what was accepted meanwhile. */
  tailLost?: boolean
  /** recovered: from healing until a fresh message was accepted, shown on every live device, and stored. */
  recoveryMs?: number
  /** The longest that may take. */
  boundMs?: number
}
