/**
 * What a simulator needs: seeded chances, simulated time, and a command that runs many schedules. A schedule is one run of a model from
 * one seed; the same seed makes the same schedule, on every machine.
 */

export interface Chances {
  /** From 0 up to, and not including, 1. */
  next(): number
  /** An integer from 0 up to, and not including, `n`. */
  below(n: number): number
  /** True in this share of the cases. */
  happens(probability: number): boolean
  /** One of a list that is not empty. */
  pick<T>(list: readonly T[]): T
}

/** mulberry32: small, quick, and good enough to choose schedules. */
export function createChances(seed: number): Chances {
  let state = seed | 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0
    let x = Math.imul(state ^ (state >>> 15), 1 | state)
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x
    return ((x ^ (x >>> 14)) >>> 0) / 4_294_967_296
  }
  return {
    next,
    below: (n) => Math.floor(next() * n),
    happens: (probability) => next() < probability,
    pick: (list) => list[Math.floor(next() * list.length)]!,
  }
}

interface Due {
  at: number
  order: number
  run: () => void
}

/** A clock that only moves when told to, and what is due by it. Milliseconds, from 0. */
export class SimulatedTime {
  now = 0
  #order = 0
  /** A heap: each is due no later than the two at 2i+1 and 2i+2. */
  readonly #due: Due[] = []

  /** Runs something later; what is due at the same moment runs in the order in which it was asked for. */
  after(ms: number, run: () => void): void {
    const due = { at: this.now + ms, order: this.#order++, run }
    const heap = this.#due
    let i = heap.length
    while (i > 0) {
      const parent = (i - 1) >> 1
      if (!earlier(due, heap[parent]!)) break
      heap[i] = heap[parent]!
      i = parent
    }
    heap[i] = due
  }

  /** Lets this much time pass, and runs what becomes due. */
  pass(ms: number): void {
    const end = this.now + ms
    while (this.#due.length > 0 && this.#due[0]!.at <= end) {
      const { at, run } = this.#takeFirst()
      this.now = at
      run()
    }
    this.now = end
  }

  #takeFirst(): Due {
    const heap = this.#due
    const first = heap[0]!
    const last = heap.pop()!
    if (heap.length === 0) return first
    let i = 0
    for (;;) {
      let child = 2 * i + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && earlier(heap[child + 1]!, heap[child]!)) child++
      if (!earlier(heap[child]!, last)) break
      heap[i] = heap[child]!
      i = child
    }
    heap[i] = last
    return first
  }
}

const earlier = (a: Due, b: Due): boolean => a.at < b.at || (a.at === b.at && a.order < b.order)

/** One schedule. @returns what went wrong, or undefined */
export type Schedule = (seed: number) => string | undefined

/** Runs schedules from `seed` on. @returns the first that fails, or undefined */
export function runSchedules(
  schedule: Schedule,
  options: { schedules: number; seed: number },
): { seed: number; fault: string } | undefined {
  for (let i = 0; i < options.schedules; i++) {
    const seed = options.seed + i
    const fault = schedule(seed)
    if (fault !== undefined) return { seed, fault }
  }
  return undefined
}

/**
 * The long form of a simulator, as a command: `--schedules n --seed n`. Prints how far it is every ten seconds and the result at the
 * end; the exit status is 1 when a schedule failed, and its seed is told.
 */
export function runAsCommand(name: string, schedule: Schedule, args: readonly string[]): void {
  const schedules = numberAfter('--schedules', args, 100_000)
  const first = numberAfter('--seed', args, 1)
  const began = performance.now()
  let toldAt = began
  for (let i = 0; i < schedules; i++) {
    const fault = schedule(first + i)
    if (fault !== undefined) {
      console.log(`${name}: seed ${first + i} failed: ${fault}`)
      process.exitCode = 1
      return
    }
    if (performance.now() - toldAt < 10_000) continue
    toldAt = performance.now()
    console.log(`${name}: ${i + 1} of ${schedules} schedules`)
  }
  const seconds = Math.round((performance.now() - began) / 1_000)
  console.log(`${name}: ${schedules} schedules from seed ${first} passed in ${seconds} s`)
}

function numberAfter(flag: string, args: readonly string[], fallback: number): number {
  const at = args.indexOf(flag)
  if (at === -1) return fallback
  const value = Number(args[at + 1])
  if (!Number.isSafeInteger(value) || value < 1) throw new Error(`${flag} takes a whole number above 0.`)
  return value
}
