/** The suite `growth`: what a message costs over one thing at a time that is varied. */
import { Failure } from '../failure.js'
import type { CurveFigures } from './figures.js'
import type { Scale } from './order.js'
import type { Measured, Point } from './series.js'

interface Curve {
  axis: string
  at: readonly number[]
  /** With `--quick`. */
  quick: readonly number[]
  /** What is sent; `direct` when it does not say. */
  suite?: Point['suite']
  /** What is counted; messages when it does not say. */
  unit?: string
  point(at: number): Omit<Point, 'crowd' | 'suite'>
}

/** Each of many processes gets a part of the messages only, and its code is as fast as it gets later. */
const LONG_WARM_UP_MS = 20_000

const ACTIVE = 100

export const CURVES = {
  connections: {
    axis: 'connections, a hundred of which are sent to (of ten: all)',
    at: [10, 100, 1_000, 10_000],
    quick: [10, 1_000],
    point: (connections) => ({
      scale: { receivers: Math.min(ACTIVE, connections), bystanders: Math.max(0, connections - ACTIVE) },
    }),
  },
  crowds: {
    axis: 'connections on six connect nodes, a hundred of which are sent to',
    at: [100, 10_000, 100_000],
    quick: [100, 1_000],
    point: (connections) => ({
      env: { TIDINGS_CONNECT_NODES: '6' },
      scale: { receivers: ACTIVE, bystanders: connections - ACTIVE, warmUpMs: LONG_WARM_UP_MS },
    }),
  },
  members: {
    axis: 'members of the room, all of them online, sixteen messages under way',
    unit: 'delivery',
    suite: 'fanout',
    at: [2, 10, 100, 1_000, 10_000],
    quick: [2, 100],
    point: (fanoutMembers) => ({ scale: { fanoutMembers } }),
  },
  conversations: {
    axis: 'receivers who are sent to in turn: of ten thousand each message is the first of its conversation',
    at: [10, 100, 1_000, 10_000],
    quick: [10, 1_000],
    point: (receivers) => ({ scale: { receivers } }),
  },
  nodes: {
    axis: 'connect nodes',
    at: [1, 2, 4, 8],
    quick: [1, 2],
    point: (nodes) => ({ env: { TIDINGS_CONNECT_NODES: String(nodes) }, scale: { warmUpMs: LONG_WARM_UP_MS } }),
  },
  workers: {
    axis: 'task workers, each serving both groups',
    at: [1, 2, 4],
    quick: [1, 2],
    point: (workers) => ({ env: { TIDINGS_TASK_WORKERS: String(workers) }, scale: { warmUpMs: LONG_WARM_UP_MS } }),
  },
  partitions: {
    axis: 'partitions',
    at: [1, 4, 16, 64],
    quick: [4, 16],
    point: (partitions) => ({
      env: { TIDINGS_PARTITIONS: String(partitions) },
      scale: { warmUpMs: LONG_WARM_UP_MS },
    }),
  },
  payload: {
    axis: 'bytes of content',
    at: [50, 140, 1_024, 4_096, 16_384],
    quick: [140, 4_096],
    point: (contentBytes) => ({ scale: { contentBytes } }),
  },
  backlog: {
    axis: 'entries that wait for persist meanwhile',
    at: [0, 1_000, 10_000, 100_000, 1_000_000],
    quick: [0, 10_000],
    point: (backlog) => ({
      backlog,
      env: { TIDINGS_TASK_GROUPS: 'push', TIDINGS_MAX_BACKLOG: '10000000' },
    }),
  },
} as const satisfies Record<string, Curve>

export type CurveName = keyof typeof CURVES
export const CURVE_NAMES = Object.keys(CURVES) as CurveName[]

/** @throws Failure when one is unknown */
export function curvesNamed(names: string): CurveName[] {
  const wanted = names.split(',')
  const unknown = wanted.find((name) => !(CURVE_NAMES as string[]).includes(name))
  if (unknown !== undefined)
    throw new Failure(`There is no curve "${unknown}": ${CURVE_NAMES.join(', ')}.`, { exitCode: 2 })
  return CURVE_NAMES.filter((name) => wanted.includes(name))
}

/** The loads of a curve, one after the other. @param most nothing beyond it is measured */
export function pointsOf(name: CurveName, quick: boolean, most = Number.POSITIVE_INFINITY): Point[] {
  const curve: Curve = CURVES[name]
  const values = (quick ? curve.quick : curve.at).filter((at) => at <= most)
  return values.map((at) => {
    const { scale, ...rest } = curve.point(at)
    const { suite = 'direct' } = curve
    return { suite, crowd: `growth-${name}-${at}`, at, ...rest, scale: { ...(quick ? {} : SHORT), ...scale } }
  })
}

/** Many points, each short. */
const SHORT: Partial<Scale> = { warmUpMs: 2_000, oneByOneWarmUpMs: 2_000, runMs: 2_000, runs: 3 }

/**
 * The curve that was measured; with a backlog a second one, of storing it afterwards, and with the members of a room one of single
 * messages.
 */
export function curvesOf(name: CurveName, measured: readonly Measured[]): CurveFigures[] {
  const { axis, unit }: Curve = CURVES[name]
  const curve = (load: number, curveName: string, what: string): CurveFigures => ({
    curve: curveName,
    axis: what,
    ...(unit !== undefined && { unit }),
    points: measured
      .flatMap(({ point, figures }) => {
        const run = figures.loads[load]?.shown
        // What is stored after the load is the backlog and what the load has added.
        const at = curveName === 'drain' ? run?.messages : point.at!
        const { referenceNs, entryBytes } = figures
        const bytes = curveName === 'drain' && entryBytes ? { entryBytes } : {}
        return run && at !== undefined ? [{ at, run, referenceNs: referenceNs!, ...bytes }] : []
      })
      .sort((a, b) => a.at - b.at),
  })
  const all = [curve(0, name, axis)]
  if (name === 'members')
    all.push(curve(2, 'alone', 'members of the room, ten messages a second, each shown to all before the next'))
  if (name === 'backlog') all.push(curve(1, 'drain', 'entries that persist has before it, and stores'))
  return all
}
