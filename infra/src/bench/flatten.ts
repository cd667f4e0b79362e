/** The figures of a suite as plain numbers by name, so that two results can be laid side by side. */

import { COLUMNS } from './columns.js'
import { totalOf } from './cpu.js'
import type { Figures, IdleFigures, IoFigures, Levels, LoadFigures, PointFigures, RoutesFigures } from './figures.js'

/** One line of figures. Lines of one kind share their columns. */
export interface Measured {
  kind: string
  name: string
  values: Record<string, number | undefined>
}

/** Everything of a suite that two runs can be compared in. Files of older versions may lack some of it. */
export function flatten({
  loads,
  idle,
  overload,
  backlog,
  cold,
  storm,
  soak,
  routes,
  growth,
  horizontal,
  micro,
}: Figures): Measured[] {
  const found = loads.flatMap(flattenLoad)
  if (idle) found.push(flattenIdle(idle))
  if (overload) {
    const { capacity, acceptedPerSecond, refusedPerSecond, answered, drainMs, memory } = overload
    const values = { 'closed loop/s': capacity, 'accepted/s': acceptedPerSecond, 'refused/s': refusedPerSecond }
    const times = { 'p50 ms': answered.p50, 'p99 ms': answered.p99, 'drain ms': drainMs }
    found.push({ kind: 'overload', name: 'overload', values: { ...values, ...times, ...mostOf(memory) } })
  }
  if (backlog) {
    const { perSecond, memory } = backlog
    found.push({ kind: 'backlog', name: 'backlog', values: { 'entries/s': perSecond, ...mostOf(memory) } })
  }
  if (cold) {
    const { perSecond, firstMs, memory } = cold
    const values = { 'entries/s': perSecond, 'first ms': firstMs, ...mostOf(memory) }
    found.push({ kind: 'cold-catchup', name: 'cold-catchup', values })
  }
  if (storm) {
    const {
      connections,
      openSeconds,
      kibPerConnection,
      restCpuTotal,
      backMs,
      backCpu = {},
      device,
      live,
      memory,
    } = storm
    const sizes = { 'KiB/connection': kibPerConnection, 'opened/s': connections / openSeconds }
    const times = {
      'all back ms': backMs,
      'CPU us/back': totalOf(backCpu),
      'device p99 ms': device.p99,
      'live p99 ms': live.back.p99,
    }
    const values = { ...sizes, 'CPU % at rest': restCpuTotal, ...times, ...mostOf(memory) }
    found.push({ kind: 'storm', name: `storm ${connections}`, values })
  }
  if (soak) {
    const { capacity, latency, memory, delay, heap = {} } = soak
    const delays = Object.fromEntries(Object.entries(delay.last).map(([app, ms]) => [`${app} delay`, ms]))
    const heaps = Object.fromEntries(Object.entries(heap).map(([app, { afterMib }]) => [`${app} heap MiB`, afterMib]))
    const values = { 'closed loop/s': capacity, 'p50 ms': latency.p50, 'p99 ms': latency.p99 }
    found.push({ kind: 'soak', name: 'soak', values: { ...values, ...mostOf(memory), ...delays, ...heaps } })
  }
  if (routes) found.push(flattenRoutes(routes))
  for (const { curve, points } of growth ?? [])
    for (const { at, ...point } of points) found.push(flattenPoint('growth', `${curve} ${at}`, point))
  for (const { load, shards, processes, ...point } of horizontal ?? [])
    found.push(flattenPoint('horizontal', `${load}, ${shards} shards, ${processes} of each`, point))
  for (const { name, ns, ratio } of micro ?? [])
    found.push({ kind: 'micro', name, values: { 'CPU ns each': ns, 'by reference': ratio } })
  return found
}

/**
 * A load as it was measured, and a second line with its CPU in units of what the generator itself used for a message: on a machine
 * whose speed varies both rise and fall together, so this ratio says more than the first. Then its system calls and bytes.
 */
function flattenLoad({ name, shown }: LoadFigures): Measured[] {
  const { perSecond, cpuTotal, cpu, generatorCpu, latency, drainMs, io } = shown
  const ioOf = (figure: keyof IoFigures) => Object.fromEntries(COLUMNS.map((app) => [app, io?.[app]?.[figure]]))
  const costs = { 'CPU us/message': cpuTotal, ...Object.fromEntries(COLUMNS.map((app) => [app, cpu[app]])) }
  const times = { 'p50 ms': latency.p50, 'p99 ms': latency.p99, 'max ms': latency.max, 'drain ms': drainMs }
  const byLoad = Object.fromEntries(
    Object.entries(costs).map(([column, us]) => [column, us === undefined ? us : us / generatorCpu]),
  )
  return [
    { kind: 'suite', name, values: { 'messages/s': perSecond, ...costs, '(load)': generatorCpu, ...times } },
    { kind: 'suite', name: `${name}, by (load)`, values: { 'messages/s': perSecond * generatorCpu, ...byLoad } },
    { kind: 'per message', name: `${name}: reads`, values: ioOf('reads') },
    { kind: 'per message', name: `${name}: writes`, values: ioOf('writes') },
    { kind: 'per message', name: `${name}: bytes read`, values: ioOf('bytesRead') },
    { kind: 'per message', name: `${name}: bytes written`, values: ioOf('bytesWritten') },
  ]
}

function flattenIdle(idle: IdleFigures): Measured {
  const { connections, openSeconds, kibPerConnection, restCpuTotal } = idle
  const values = {
    'KiB/connection': kibPerConnection,
    'opened/s': connections / openSeconds,
    'CPU % at rest': restCpuTotal,
  }
  return { kind: 'idle', name: `idle ${connections}`, values }
}

function flattenRoutes({ sessions, loaded, lookUp, death, back, reload }: RoutesFigures): Measured {
  const sizes = { 'bytes/session': loaded.bytesPerSession, 'load ms': loaded.ms, 'peak MiB': loaded.peakMib }
  const stretches = Object.entries({ death, back, reload }).flatMap(([name, { ms, late }]) => [
    [`${name} ms`, ms],
    [`${name} late max ms`, late.max],
  ])
  const values = { ...sizes, 'look-up ns': lookUp.knownNs, ...Object.fromEntries(stretches) }
  return { kind: 'routes', name: `routes ${sessions}`, values }
}

const flattenPoint = (kind: string, name: string, { run, referenceNs }: PointFigures): Measured => ({
  kind,
  name,
  values: {
    'messages/s': run.perSecond,
    'CPU us/message': run.cpuTotal,
    'by reference': (run.cpuTotal * 1_000) / referenceNs,
    'by (load)': run.cpuTotal / run.generatorCpu,
    'p99 ms': run.latency.p99,
  },
})

const mostOf = ({ most }: Levels): Record<string, number> =>
  Object.fromEntries(Object.entries(most).map(([name, mib]) => [`${name} MiB`, mib]))
