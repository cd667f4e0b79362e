/** What the state machine in claims.ts is told, and what it answers. */

/** A partition's key in etcd. */
export interface Named {
  owner: string
  fence: number
  /** etcd's, of the write that says so. */
  revision: number
}

/** What a claim asks of etcd: put this worker's name and fence where the key's revision is the expected one (0: there is none). */
export interface Claim {
  partition: number
  expected: number
  fence: number
  /** How often all keys had been read when it was made: an answer to an older claim says nothing about what is known since. */
  reading: number
}

export type ClaimsEvent =
  /** All keys, as etcd had them at this revision. It may be lower than any before: etcd has lost its data. */
  | { type: 'read'; named: ReadonlyMap<number, Named>; revision: number }
  | ({ type: 'named'; partition: number } & Named)
  | { type: 'unnamed'; partition: number; revision: number }
  /** The listed workers that share the group's partitions. `resting`: this one is listed, and takes no share now. */
  | { type: 'workers'; workers: readonly string[]; resting?: boolean }
  /** This worker's lease: keys under an older one will end with that. */
  | { type: 'leased'; lease: string }
  | { type: 'claimed'; claim: Claim; revision: number; lease: string }
  /** The key was not as expected. */
  | { type: 'claim-lost'; claim: Claim; found: Named | undefined; revision: number }
  /** It may or may not have been done. */
  | { type: 'claim-failed'; claim: Claim }
  | { type: 'raised'; partition: number; fence: number }
  | { type: 'raise-failed'; partition: number }
  /** Somebody knows this fence or a higher one (`by`). Whoever worked under `fence` has stopped. */
  | { type: 'refused'; partition: number; fence: number; by: number }
  | { type: 'released'; partition: number }
  /** The key is gone, or was not as expected: what was found. */
  | { type: 'unlisted'; partition: number; found: Named | undefined; revision: number; reading: number }
  /** It may or may not be gone. */
  | { type: 'unlist-failed'; partition: number }
  /** Time has passed: what failed is tried again. */
  | { type: 'tick' }
  | { type: 'stop' }

export type ClaimsEffect =
  /** Answered by `claimed`, `claim-lost` or `claim-failed`. */
  | ({ type: 'claim' } & Claim)
  /** Make the fence the least that settles, if it is higher than the one known. Answered by `raised`, `refused` or `raise-failed`. */
  | { type: 'raise'; partition: number; fence: number }
  /** Work on it under this fence from now on. */
  | { type: 'own'; partition: number; fence: number }
  /** Stop working on it. Answered by `released`, when nothing of it is in hand. */
  | { type: 'release'; partition: number; because: 'share' | 'another-owner' | 'stop' }
  /** Delete the key if it is still at this revision. Answered by `unlisted` or `unlist-failed`. */
  | { type: 'unlist'; partition: number; revision: number; reading: number }
