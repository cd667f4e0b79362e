/**
 * Finds thousands of words in a text in one walk over it (Aho and Corasick, "Efficient string matching", 1975). What is kept of each state
 * is the longest word per action that ends there, so that the time depends on the text's length and never on how many words overlap in it.
 */
import { type Folded, isWordlike, pointAt, pointBefore } from './fold.js'

/** What happens to a message with the word, from the mildest to the strictest. */
export const ACTIONS = ['flag', 'mask', 'reject'] as const
export type Action = (typeof ACTIONS)[number]

export interface Word {
  /** As the list has it. */
  readonly text: string
  /** Folded. */
  readonly units: readonly number[]
  readonly action: Action
  /** It counts only where no letter or digit stands beside it. */
  readonly whole: boolean
}

/** Told of a word and the folded text's units that it was found at. @returns true to stop */
export type Visit = (word: Word, start: number, end: number) => boolean

export interface Automaton {
  readonly words: number
  /** Visits, at each place, the longest word of each action that ends there, and the longest whole ones. */
  find(text: Folded, visit: Visit): void
}

/** How many steps are done between two looks at the clock. */
const STRIDE = 512

/**
 * Edges of a trie in a table with open addresses: a state and a unit lead to a state. 0 is the root, where no edge leads. The three lie
 * side by side, for a look at a large table costs what it fetches from memory.
 */
class Edges {
  readonly #mask: number
  readonly #table: Int32Array

  /** @param most edges that there will be */
  constructor(most: number) {
    const size = 2 ** Math.ceil(Math.log2(Math.max(8, 2 * most)))
    this.#mask = size - 1
    this.#table = new Int32Array(3 * size)
  }

  /** Where the edge stands, or would stand. */
  #slot(state: number, unit: number): number {
    const table = this.#table
    let hash = Math.imul(state, 0x9e3779b1) ^ Math.imul(unit, 0x85ebca6b)
    hash ^= hash >>> 15
    for (;;) {
      const slot = 3 * (hash & this.#mask)
      if (table[slot + 2] === 0 || (table[slot] === state && table[slot + 1] === unit)) return slot
      hash++
    }
  }

  get(state: number, unit: number): number {
    return this.#table[this.#slot(state, unit) + 2]!
  }

  set(state: number, unit: number, target: number): void {
    const slot = this.#slot(state, unit)
    this.#table[slot] = state
    this.#table[slot + 1] = unit
    this.#table[slot + 2] = target
  }
}

/**
 * Builds the automaton of these words; of two that fold alike, the later one counts.
 * @param rest waits a moment when the work has taken long; called every few hundred steps, so that what else there is to do is done
 */
export async function buildAutomaton(
  words: readonly Word[],
  rest: () => undefined | Promise<void>,
): Promise<Automaton> {
  const most = words.reduce((sum, { units }) => sum + units.length, 0)
  const edges = new Edges(most)
  const parents = new Int32Array(most + 1)
  const unitOf = new Uint16Array(most + 1)
  const depths = new Uint16Array(most + 1)
  /** Number of the word plus one, by the state at which it ends. */
  const inside = new Int32Array(most + 1)
  const whole = new Int32Array(most + 1)
  let states = 1

  for (const [i, { units, whole: isWhole }] of words.entries()) {
    if (i % STRIDE === 0) await rest()
    let state = 0
    for (const unit of units) {
      let next = edges.get(state, unit)
      if (next === 0) {
        next = states++
        edges.set(state, unit, next)
        parents[next] = state
        unitOf[next] = unit
        depths[next] = depths[state]! + 1
      }
      state = next
    }
    inside[state] = isWhole ? 0 : i + 1
    whole[state] = isWhole ? i + 1 : 0
  }

  // All states of a depth come before those below them: what they are linked to is finished.
  const order = await byDepth(depths.subarray(0, states), rest)
  const fails = new Int32Array(states)
  /** The longest word of an action that ends at a state, inside or at its end. */
  const best = ACTIONS.map(() => new Int32Array(states))
  /** The nearest state, itself or one linked to, at which a whole word ends. */
  const wholes = new Int32Array(states)
  const ends = new Uint8Array(states)
  for (let i = 1; i < states; i++) {
    if (i % STRIDE === 0) await rest()
    const state = order[i]!
    const parent = parents[state]!
    let link = 0
    if (parent !== 0) {
      const unit = unitOf[state]!
      let from = fails[parent]!
      link = edges.get(from, unit)
      while (link === 0 && from !== 0) {
        from = fails[from]!
        link = edges.get(from, unit)
      }
    }
    fails[state] = link
    for (const one of best) one[state] = one[link]!
    if (inside[state] !== 0) best[ACTIONS.indexOf(words[inside[state]! - 1]!.action)]![state] = inside[state]!
    wholes[state] = whole[state] === 0 ? wholes[link]! : state
    ends[state] = wholes[state] !== 0 || best.some((one) => one[state] !== 0) ? 1 : 0
  }

  return {
    words: words.length,
    find(text, visit) {
      const { units } = text
      let state = 0
      for (let at = 0; at < units.length; ) {
        const unit = units[at++]!
        let next = edges.get(state, unit)
        while (next === 0 && state !== 0) {
          state = fails[state]!
          next = edges.get(state, unit)
        }
        state = next
        if (ends[state] === 0) continue
        for (const one of best) {
          const word = words[one[state]! - 1]
          if (word && visit(word, at - word.units.length, at)) return
        }
        if (wholes[state] === 0 || !endsWord(text, at)) continue
        // From the longest one on; of each action the longest will do.
        const visited = new Set<Action>()
        for (let one = wholes[state]!; one !== 0; one = wholes[fails[one]!]!) {
          const word = words[whole[one]! - 1]!
          const start = at - word.units.length
          if (visited.has(word.action) || !beginsWord(text, start)) continue
          if (visit(word, start, at)) return
          visited.add(word.action)
        }
      }
    },
  }
}

async function byDepth(depths: Uint16Array, rest: () => undefined | Promise<void>): Promise<Int32Array> {
  const starts: number[] = []
  for (const depth of depths) starts[depth + 1] = (starts[depth + 1] ?? 0) + 1
  starts[0] = 0
  for (let depth = 1; depth < starts.length; depth++) starts[depth]! += starts[depth - 1]!
  await rest()
  const order = new Int32Array(depths.length)
  for (let state = 0; state < depths.length; state++) order[starts[depths[state]!]!++] = state
  return order
}

/** What was passed over between two units stands between two words. */
const apart = ({ from, to }: Folded, at: number): boolean => from[at]! > to[at - 1]!

const beginsWord = (text: Folded, at: number): boolean =>
  at === 0 || apart(text, at) || !isWordlike(pointBefore(text, at))

const endsWord = (text: Folded, at: number): boolean =>
  at === text.units.length || apart(text, at) || !isWordlike(pointAt(text, at))
