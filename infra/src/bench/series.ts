/** Several short loads: those that need the same instance follow each other on it. */
import type { Figures } from './figures.js'
import { type Instance, type InstanceOptions, startInstance } from './instance.js'
import type { Order, PointOrder, Scale } from './order.js'

export interface Point {
  suite: 'direct' | 'batch' | 'fanout'
  /** Its people's names begin with it; no two points of one instance share it. */
  crowd: string
  /** The value of what is varied. */
  at?: number
  /** Settings of the instance. */
  env?: Record<string, string>
  /** Its Redis is a cluster. */
  cluster?: boolean
  /** On top of the usual scale. */
  scale?: Partial<Scale>
  /** Entries that persist has before it meanwhile. */
  backlog?: number
}

export interface Measured {
  point: Point
  figures: Figures
}

export interface SeriesOptions extends Pick<InstanceOptions, 'say' | 'interrupted'> {
  scale: Scale
  /** Runs one load. */
  generate(
    instance: Instance,
    order: Pick<Order, 'suite' | 'scale'> & { point: PointOrder },
    longestMs: number,
  ): Promise<Figures>
  /** Told of the first instance, to describe the machine. */
  started(instance: Instance): Promise<void>
}

/** A point that writes a million entries first. */
const LONGEST_POINT_MS = 30 * 60_000

/** Runs all of them, in their order. @param measured gets each as soon as it is there: what comes to nothing later does not take it along */
export async function runSeries(points: readonly Point[], options: SeriesOptions, measured: Measured[]): Promise<void> {
  for (const sharing of onOneInstance(points)) {
    const { env = {}, cluster = false } = sharing[0]!
    const { say, interrupted } = options
    const set = Object.entries(env).map(([name, value]) => `${name}=${value}`)
    say(`starting an instance (${[...set, ...(cluster ? ['a Redis Cluster'] : [])].join(', ') || 'as it is'})`)
    const instance = await startInstance({ say, interrupted, profiles: undefined, env, cluster })
    try {
      await options.started(instance)
      const worker = sharing.some(({ backlog }) => backlog !== undefined)
        ? { ...(await instance.addWorker('persist')), name: 'task' }
        : undefined
      if (worker) instance.processes.push(worker)
      const play = ({ suite, crowd, backlog, scale }: Point): Promise<Figures> => {
        say(`running ${crowd}`)
        const point = { crowd, ...(backlog !== undefined && { backlog: { entries: backlog, worker: worker! } }) }
        const order = { suite, scale: { ...options.scale, ...scale }, point }
        return options.generate(instance, order, LONGEST_POINT_MS)
      }
      for (const point of warmedUp(sharing)) {
        const figures = await play(point)
        if (sharing.includes(point)) measured.push({ point, figures })
      }
    } finally {
      await instance.stop()
    }
  }
}

/** Of a curve on one instance the first point is done once more before, and not counted: code gets faster when it is used. */
export function warmedUp(points: readonly Point[]): Point[] {
  const [first, ...more] = points
  if (first?.at === undefined || more.length === 0) return [...points]
  return [{ ...first, crowd: `warm-${first.crowd}` }, first, ...more]
}

/** Neighbours that need the same settings. */
export function onOneInstance(points: readonly Point[]): Point[][] {
  const groups: Point[][] = []
  const kindOf = ({ env = {}, cluster = false }: Point): string => JSON.stringify([env, cluster])
  for (const point of points) {
    const last = groups.at(-1)
    if (last && kindOf(last[0]!) === kindOf(point)) last.push(point)
    else groups.push([point])
  }
  return groups
}
