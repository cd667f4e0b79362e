/** Which partitions a worker should own: a pure decision, made alike by every worker from what etcd lists. */

export interface View {
  me: string
  /** All live workers of the group, this one included. */
  workers: readonly string[]
  partitions: number
  /** Partition to the worker that etcd names as its owner. */
  owners: ReadonlyMap<number, string>
}

export interface Plan {
  claim: number[]
  release: number[]
}

/** A listed worker that serves the group. */
export interface Serving {
  name: string
  /** It cannot serve it just now, by its own word. */
  unable: boolean
}

/** Who shares a group's partitions: those who can serve it, and all where nobody can. @returns `resting`: this worker is listed, and not among them */
export function sharing(me: string, serving: readonly Serving[]): { workers: string[]; resting: boolean } {
  const able = serving.filter(({ unable }) => !unable)
  const workers = (able.length > 0 ? able : serving).map(({ name }) => name)
  return { workers, resting: serving.some(({ name }) => name === me) && !workers.includes(me) }
}

/** How many partitions a worker may hold: all shares differ by at most one, and the first by name hold the larger ones. */
export function quotaOf(worker: string, workers: readonly string[], partitions: number): number {
  const order = [...workers].sort()
  const place = order.indexOf(worker)
  if (place === -1) return 0
  const least = Math.floor(partitions / order.length)
  return least + (place < partitions % order.length ? 1 : 0)
}

/**
 * Keeps what one has, gives away what is above one's share, and takes what is free below it: a worker that comes or goes moves as
 * few partitions as possible. A partition of a worker that is not listed counts as free only once etcd has dropped it.
 */
export function planShares({ me, workers, partitions, owners }: View): Plan {
  const quota = quotaOf(me, workers, partitions)
  const mine: number[] = []
  const free: number[] = []
  for (let p = 0; p < partitions; p++) {
    const owner = owners.get(p)
    if (owner === me) mine.push(p)
    else if (owner === undefined) free.push(p)
  }
  if (mine.length >= quota) return { claim: [], release: mine.slice(quota) }
  // Different workers begin at different places, so that they do not race for the same ones.
  const offset = free.length === 0 ? 0 : Math.floor((free.length * [...workers].sort().indexOf(me)) / workers.length)
  const rotated = [...free.slice(offset), ...free.slice(0, offset)]
  return { claim: rotated.slice(0, quota - mine.length), release: [] }
}
