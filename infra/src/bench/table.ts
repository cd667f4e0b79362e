/** The figures for people. */

import { align, COLUMNS } from './columns.js'
import type {
  BacklogFigures,
  ColdFigures,
  Figures,
  IdleFigures,
  Levels,
  LoadFigures,
  OverloadFigures,
  SoakFigures,
  StoreRates,
  StormFigures,
} from './figures.js'
import { kindsOf } from './heap.js'
import type { LoopFigures } from './micro-timing.js'
import { renderRoutes } from './routes-table.js'
import { renderCurve, renderHorizontal } from './series-table.js'
import { timesOf } from './statistics.js'

/** Prints what was measured as lines of text. */
export function renderTable(figures: readonly Figures[]): string[] {
  const loads = figures.flatMap((each) => each.loads)
  const idle = figures.flatMap((each) => each.idle ?? [])
  return [
    ...(loads.length > 0 ? [...renderLoads(loads), '', ...renderIo(loads)] : []),
    ...idle.flatMap(renderIdle),
    ...figures.flatMap(({ overload, backlog, cold, storm, soak, routes, growth, horizontal, micro }) => [
      ...(overload ? renderOverload(overload) : []),
      ...(backlog ? renderBacklog(backlog) : []),
      ...(cold ? renderCold(cold) : []),
      ...(storm ? renderStorm(storm) : []),
      ...(soak ? renderSoak(soak) : []),
      ...(routes ? renderRoutes(routes) : []),
      ...(growth ?? []).flatMap(renderCurve),
      ...(horizontal ? renderHorizontal(horizontal) : []),
      ...(micro ? renderLoops(micro) : []),
    ]),
  ]
}

function renderLoads(loads: readonly LoadFigures[]): string[] {
  const head = [
    'suite',
    'messages/s',
    'CPU us/message',
    ...COLUMNS,
    '(load)',
    'p50 ms',
    'p99 ms',
    'max ms',
    'drain ms',
    'others %',
  ]
  const rows = loads.map(({ name, shown }) => [
    name,
    shown.perSecond.toFixed(0),
    shown.cpuTotal.toFixed(1),
    ...COLUMNS.map((column) => (shown.cpu[column] ?? 0).toFixed(1)),
    shown.generatorCpu.toFixed(1),
    shown.latency.p50.toFixed(2),
    shown.latency.p99.toFixed(2),
    shown.latency.max.toFixed(1),
    shown.drainMs.toFixed(0),
    shown.othersPercent.toFixed(0),
  ])
  return align([head, ...rows])
}

const IO_ROWS = [
  ['reads', 'reads', 2],
  ['writes', 'writes', 2],
  ['bytes read', 'bytesRead', 0],
  ['bytes written', 'bytesWritten', 0],
] as const

/** System calls and bytes; a process that the kernel does not let us see has none. */
function renderIo(loads: readonly LoadFigures[]): string[] {
  const names = [...COLUMNS, 'load']
  const rows = loads.flatMap(({ name, shown: { io } }) =>
    IO_ROWS.map(([title, figure, digits]) => [
      `${name}: ${title}`,
      ...names.map((process) => io[process]?.[figure].toFixed(digits) ?? '-'),
    ]),
  )
  return align([['per message', ...names.map((name) => (name === 'load' ? '(load)' : name))], ...rows])
}

function renderIdle(idle: IdleFigures): string[] {
  const {
    connections,
    openSeconds,
    ownBefore,
    ownAfter,
    residentBefore,
    residentAfter,
    kibPerConnection,
    restCpu,
    restCpuTotal,
    othersPercent,
  } = idle
  const mib = (kib: number | undefined): string => `${((kib ?? 0) / 1_024).toFixed(0)} MiB`
  const rest = COLUMNS.map((column) => `${column} ${(restCpu[column] ?? 0).toFixed(1)}`).join(', ')
  const memory = (before: Record<string, number>, after: Record<string, number>): string =>
    COLUMNS.map((column) => `${column} ${mib(before[column])} -> ${mib(after[column])}`).join(', ')
  return [
    `idle: ${connections} connections, opened in ${openSeconds.toFixed(1)} s (${(connections / openSeconds).toFixed(0)}/s)`,
    `  ${kibPerConnection.toFixed(2)} KiB of the connect process each`,
    `  own memory: ${memory(ownBefore, ownAfter)}`,
    `  resident with files: ${memory(residentBefore, residentAfter)}`,
    `  at rest ${restCpuTotal.toFixed(1)} % of one core: ${rest} (others used ${othersPercent.toFixed(0)} % of the machine)`,
  ]
}

function renderOverload(figures: OverloadFigures): string[] {
  const { capacity, seconds, offeredPerSecond, acceptedPerSecond, refusedPerSecond, refused, unsent, answered, late } =
    figures
  return [
    `overload: ${offeredPerSecond}/s offered for ${seconds.toFixed(0)} s, where a closed loop takes ${capacity}/s`,
    `  accepted ${acceptedPerSecond.toFixed(0)}/s, refused ${refusedPerSecond.toFixed(0)}/s (${countsOf(refused)}), not sent ${unsent}`,
    `  accepted ones were answered in: p50 ${answered.p50.toFixed(0)} ms, p99 ${answered.p99.toFixed(0)} ms, max ${answered.max.toFixed(0)} ms (of it the generator: p50 ${late.p50.toFixed(0)}, p99 ${late.p99.toFixed(0)})`,
    `  all of them shown and stored ${(figures.drainMs / 1_000).toFixed(1)} s after the last answer`,
    ...renderMemory(figures.memory),
  ]
}

const countsOf = (counts: Record<string, number>): string =>
  Object.entries(counts)
    .map(([code, count]) => `${code} ${count}`)
    .join(', ') || 'none'

function renderBacklog({ entries, fillMs, drainMs, perSecond, memory }: BacklogFigures): string[] {
  return [
    `backlog: ${entries} entries written in ${(fillMs / 1_000).toFixed(1)} s while persist did not run`,
    `  in MySQL ${(drainMs / 1_000).toFixed(1)} s after its worker was started (${perSecond.toFixed(0)}/s)`,
    ...renderMemory(memory),
  ]
}

function renderCold({ entries, conversations, firstMs, syncedMs, perSecond, memory }: ColdFigures): string[] {
  return [
    `cold-catchup: ${entries} entries of ${conversations} conversations for one device`,
    `  the first one after ${firstMs.toFixed(0)} ms, synced after ${(syncedMs / 1_000).toFixed(1)} s (${perSecond.toFixed(0)}/s)`,
    ...renderMemory(memory),
  ]
}

function renderStorm(storm: StormFigures): string[] {
  const { connections, openSeconds, restCpu, backCpu, entries, device, live, rates } = storm
  const seconds = (ms: number): string => (ms / 1_000).toFixed(1)
  const asked = (each: StoreRates): string =>
    Object.entries(each)
      .map(([name, { mean, most }]) => `${name} ${mean.toFixed(0)} (most ${most.toFixed(0)})`)
      .join(', ')
  return [
    `storm: ${connections} connections on ${storm.connectProcesses} connect processes from ${storm.clientProcesses} client processes, opened in ${openSeconds.toFixed(1)} s (${(connections / openSeconds).toFixed(0)}/s)`,
    `  ${storm.kibPerConnection.toFixed(2)} KiB of connect each`,
    `  at rest with ${storm.livePerSecond} messages/s and the heartbeats ${storm.restCpuTotal.toFixed(1)} % of one core: ${COLUMNS.map((column) => `${column} ${(restCpu[column] ?? 0).toFixed(1)}`).join(', ')} (others used ${storm.othersPercent.toFixed(0)} % of the machine)`,
    `  all dropped; ${entries} entries written to them in ${seconds(storm.fillMs)} s; all back with theirs after ${seconds(storm.backMs)} s, spread over ${seconds(storm.spreadMs)} s (goal: within 60 s); attempts in vain: ${countsOf(storm.inVain)}`,
    `  a device took: ${timesOf(device)}; CPU us for each: ${COLUMNS.map((column) => `${column} ${(backCpu[column] ?? 0).toFixed(0)}`).join(', ')}, its client ${storm.clientCpu.toFixed(0)} (with what the others sent meanwhile)`,
    `  live delivery to others (goal: p99 below 200 ms): ${timesOf(live.drop)} while all were torn off, ${timesOf(live.back)} while they came back`,
    `  live delivery otherwise: ${timesOf(live.rest)} before, ${timesOf(live.fill)} while entries were written; the generator was late by p99 ${live.late.p99.toFixed(1)} ms; refused: ${countsOf(storm.refused)}`,
    `  requests/s during the storm: ${asked(rates.storm)}`,
    `  requests/s before: ${asked(rates.rest)}`,
    ...renderMemory(storm.memory),
  ]
}

function renderSoak(soak: SoakFigures): string[] {
  const { minutes, capacity, perSecond, accepted, refused, latency, late, drainMs, memory, handles } = soak
  const { resources, delay, heap } = soak
  return [
    `soak: ${perSecond}/s for ${minutes.toFixed(1)} min, where a closed loop takes ${capacity}/s; ${accepted} accepted, refused: ${countsOf(refused)}`,
    `  delivered: ${timesOf(latency)} (of it the generator: p99 ${late.p99.toFixed(1)} ms); all shown and stored ${(drainMs / 1_000).toFixed(1)} s after the last answer`,
    ...renderMemory(memory),
    renderLevels('open files', handles, 0),
    renderLevels('timers and other resources', resources, 0),
    renderLevels('event-loop delay, p99 in ms', delay, 1),
    ...Object.entries(heap).map(
      ([app, { beforeMib, afterMib, grown }]) =>
        `  heap of ${app} after a collection: ${beforeMib.toFixed(1)} -> ${afterMib.toFixed(1)} MiB; most grown: ${kindsOf(grown)}`,
    ),
  ]
}

function renderLoops(loops: readonly LoopFigures[]): string[] {
  const rows = loops.map(({ name, ns, ratio }) => [name, ns.toFixed(ns < 100 ? 1 : 0), ratio.toPrecision(3)])
  return align([['micro', 'CPU ns each', 'by reference'], ...rows])
}

const renderMemory = (memory: Levels): string[] => [renderLevels('resident MiB', memory, 0)]

function renderLevels(what: string, { most, first, last }: Levels, digits: number): string {
  const shown = (value: number | undefined): string => value?.toFixed(digits) ?? '-'
  const cells = Object.keys(most).map(
    (name) => `${name} ${shown(first[name])} -> ${shown(last[name])}, at most ${shown(most[name])}`,
  )
  return `  ${what}, beginning -> end: ${cells.join('; ')}`
}
