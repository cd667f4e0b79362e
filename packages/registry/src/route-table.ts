/**
 * Which node holds which session of which user, for a million of them: numbers in flat arrays, which the garbage collector passes over
 * and which cost the same whatever names look like. Nothing here knows etcd.
 */
import { randomInt } from 'node:crypto'

const FIRST_SLOTS = 1_024
/** Beyond this share of taken slots they are doubled: runs of taken ones get long. */
const MOST_TAKEN = 0.6
const MOST_NODES = 0xffff
const NOBODY: readonly string[] = []

/**
 * Users and sessions are kept as 64-bit digests of their names, seeded anew in each process. Two users with the same one are pushed to each
 * other's nodes as well, where nobody is shown what is not his; two sessions of one user with the same one would be taken for one: less
 * likely than one in 10^19 for each pair.
 */
export class RouteTable {
  /** Slot to digests and node; node 0 means that the slot is free. A user's sessions lie in one run, from the slot of his digest on. */
  #userA = new Uint32Array(FIRST_SLOTS)
  #userB = new Uint32Array(FIRST_SLOTS)
  #sessionA = new Uint32Array(FIRST_SLOTS)
  #sessionB = new Uint32Array(FIRST_SLOTS)
  #node = new Uint16Array(FIRST_SLOTS)
  #mask = FIRST_SLOTS - 1
  #sessions = 0
  #users = 0
  readonly #nodes = new NodeNumbers()

  get sessions(): number {
    return this.#sessions
  }

  get users(): number {
    return this.#users
  }

  /** Notes that the node holds the session; another node that held it before does not any more. */
  set(user: string, session: string, node: string): void {
    digestName(user, USER_A, USER_B)
    const { a: userA, b: userB } = digest
    digestName(session, SESSION_A, SESSION_B)
    const { a: sessionA, b: sessionB } = digest
    let known = false
    let slot = userA & this.#mask
    for (; this.#node[slot] !== 0; slot = (slot + 1) & this.#mask) {
      if (this.#userA[slot] !== userA || this.#userB[slot] !== userB) continue
      known = true
      if (this.#sessionA[slot] !== sessionA || this.#sessionB[slot] !== sessionB) continue
      const before = this.#node[slot]!
      this.#node[slot] = this.#nodes.take(node)
      this.#nodes.giveBack(before)
      return
    }
    this.#userA[slot] = userA
    this.#userB[slot] = userB
    this.#sessionA[slot] = sessionA
    this.#sessionB[slot] = sessionB
    this.#node[slot] = this.#nodes.take(node)
    this.#sessions++
    if (!known) this.#users++
    if (this.#sessions > MOST_TAKEN * this.#node.length) this.#double()
  }

  /** The session is over. One that is not known is none of ours. */
  delete(user: string, session: string): void {
    digestName(user, USER_A, USER_B)
    const { a: userA, b: userB } = digest
    digestName(session, SESSION_A, SESSION_B)
    const { a: sessionA, b: sessionB } = digest
    let found = -1
    let others = false
    for (let slot = userA & this.#mask; this.#node[slot] !== 0; slot = (slot + 1) & this.#mask) {
      if (this.#userA[slot] !== userA || this.#userB[slot] !== userB) continue
      if (this.#sessionA[slot] === sessionA && this.#sessionB[slot] === sessionB) found = slot
      else others = true
    }
    if (found < 0) return
    this.#nodes.giveBack(this.#node[found]!)
    this.#sessions--
    if (!others) this.#users--
    this.#close(found)
  }

  /** The nodes that hold a session of the user, each once, in no order. */
  nodesOf(user: string): readonly string[] {
    digestName(user, USER_A, USER_B)
    const { a: userA, b: userB } = digest
    let first = 0
    let several: string[] | undefined
    for (let slot = userA & this.#mask; this.#node[slot] !== 0; slot = (slot + 1) & this.#mask) {
      if (this.#userA[slot] !== userA || this.#userB[slot] !== userB) continue
      const node = this.#node[slot]!
      if (first === 0) first = node
      else if (node !== first) {
        several ??= [this.#nodes.nameOf(first)]
        const name = this.#nodes.nameOf(node)
        if (!several.includes(name)) several.push(name)
      }
    }
    return several ?? (first === 0 ? NOBODY : this.#nodes.aloneOf(first))
  }

  /** Frees a slot. What stands behind it in its run moves up where it may, so that no look-up meets a free slot too early. */
  #close(free: number): void {
    for (let slot = (free + 1) & this.#mask; this.#node[slot] !== 0; slot = (slot + 1) & this.#mask) {
      const home = this.#userA[slot]! & this.#mask
      if (((slot - home) & this.#mask) < ((slot - free) & this.#mask)) continue
      this.#userA[free] = this.#userA[slot]!
      this.#userB[free] = this.#userB[slot]!
      this.#sessionA[free] = this.#sessionA[slot]!
      this.#sessionB[free] = this.#sessionB[slot]!
      this.#node[free] = this.#node[slot]!
      free = slot
    }
    this.#node[free] = 0
  }

  #double(): void {
    const [userA, userB, sessionA, sessionB, node] = [
      this.#userA,
      this.#userB,
      this.#sessionA,
      this.#sessionB,
      this.#node,
    ]
    const slots = 2 * node.length
    this.#userA = new Uint32Array(slots)
    this.#userB = new Uint32Array(slots)
    this.#sessionA = new Uint32Array(slots)
    this.#sessionB = new Uint32Array(slots)
    this.#node = new Uint16Array(slots)
    this.#mask = slots - 1
    for (let old = 0; old < node.length; old++) {
      if (node[old] === 0) continue
      let slot = userA[old]! & this.#mask
      while (this.#node[slot] !== 0) slot = (slot + 1) & this.#mask
      this.#userA[slot] = userA[old]!
      this.#userB[slot] = userB[old]!
      this.#sessionA[slot] = sessionA[old]!
      this.#sessionB[slot] = sessionB[old]!
      this.#node[slot] = node[old]!
    }
  }
}

/** Names of nodes by number, from 1. A number is free again when nothing is on the node any more. */
class NodeNumbers {
  readonly #numbers = new Map<string, number>()
  /** Each name alone in an array: the answer for most users, made once. */
  readonly #alone: (readonly string[])[] = [[]]
  readonly #uses = [0]
  readonly #free: number[] = []

  take(name: string): number {
    const number = this.#numbers.get(name) ?? this.#add(name)
    this.#uses[number]!++
    return number
  }

  giveBack(number: number): void {
    if (--this.#uses[number]! > 0) return
    this.#numbers.delete(this.nameOf(number))
    this.#free.push(number)
  }

  nameOf(number: number): string {
    return this.#alone[number]![0]!
  }

  aloneOf(number: number): readonly string[] {
    return this.#alone[number]!
  }

  #add(name: string): number {
    const number = this.#free.pop() ?? this.#uses.length
    if (number > MOST_NODES) throw new Error('more connect nodes than there are numbers for')
    this.#numbers.set(name, number)
    this.#alone[number] = [name]
    this.#uses[number] = 0
    return number
  }
}

/** Nobody outside can choose names that fall into one run. */
const [USER_A, USER_B, SESSION_A, SESSION_B] = Array.from({ length: 4 }, () => randomInt(2 ** 32)) as [
  number,
  number,
  number,
  number,
]

/** What the last digest came to: an answer of two numbers would be an object for each look-up. */
const digest = { a: 0, b: 0 }

/** 64 bits of a name, in two halves with multipliers of their own; each ends as MurmurHash ends its own. */
function digestName(name: string, seedA: number, seedB: number): void {
  let a = seedA
  let b = seedB
  for (let i = 0; i < name.length; i++) {
    const code = name.charCodeAt(i)
    a = Math.imul(a ^ code, 0x85ebca6b)
    b = Math.imul(b ^ code, 0xc2b2ae35)
  }
  digest.a = mixed(a ^ name.length)
  digest.b = mixed(b ^ name.length)
}

function mixed(bits: number): number {
  let x = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b)
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35)
  return (x ^ (x >>> 16)) >>> 0
}
