/** What the bench asks of the load generator, and what it gets back: JSON between two processes. */
import type { LoopFigures, Timing } from './micro-timing.js'

/** Everything that can be measured, in the order in which it runs. */
export const SUITES = [
  'direct',
  'batch',
  'ws-send',
  'latency',
  'idle',
  'overload',
  'backlog',
  'cold-catchup',
  'micro',
] as const
/** What runs when nothing is named: what takes minutes is asked for by name. */
export const USUAL_SUITES: readonly SuiteName[] = ['direct', 'batch', 'ws-send', 'latency', 'idle']
export type SuiteName = (typeof SUITES)[number]

/** How much is done. */
export interface Scale {
  warmUpMs: number
  runMs: number
  /** Runs of a closed-loop suite; the middle one is shown. */
  runs: number
  receivers: number
  senders: number
  /** Calls in flight with one message each. */
  inFlight: number
  /** Calls in flight with `perBatch` messages each. */
  batchesInFlight: number
  perBatch: number
  /** Messages a second of the open loops. */
  rates: readonly number[]
  connections: number
  restMs: number
  /** How long twice as much is sent as the instance can do. */
  overloadMs: number
  /** Entries that persist has before it when it is started. */
  backlogEntries: number
  /** Entries that one device was not there for. */
  coldEntries: number
  /** How long the inner loops are timed. */
  micro: Timing
}

export const FULL: Scale = {
  warmUpMs: 2_000,
  runMs: 5_000,
  runs: 3,
  receivers: 100,
  senders: 8,
  inFlight: 64,
  batchesInFlight: 4,
  perBatch: 100,
  rates: [500, 1_000],
  connections: 10_000,
  restMs: 5_000,
  overloadMs: 60_000,
  backlogEntries: 100_000,
  coldEntries: 100_000,
  micro: { warmUpMs: 200, sliceMs: 15, rounds: 21 },
}

/** For a look while working; too short for figures to quote. */
export const QUICK: Scale = {
  ...FULL,
  warmUpMs: 1_000,
  runMs: 1_500,
  runs: 1,
  connections: 1_000,
  restMs: 2_000,
  overloadMs: 10_000,
  backlogEntries: 10_000,
  coldEntries: 10_000,
  micro: { warmUpMs: 100, sliceMs: 10, rounds: 9 },
}

/** A server process whose CPU counts. */
export interface ServerProcess {
  name: string
  pid: number
}

/** What needs no instance. */
export interface MicroOrder {
  suite: 'micro'
  scale: Scale
}

/** One suite to run against one instance. */
export interface Order {
  suite: Exclude<SuiteName, 'micro'>
  scale: Scale
  api: { host: string; port: number }
  websocket: string
  jwtSecret: string
  redisUrl: string
  mysqlUrl: string
  partitions: number
  processes: readonly ServerProcess[]
}

/** Milliseconds. */
export interface Latency {
  p50: number
  p99: number
  max: number
}

/** What a process did by read, write and their kin; not by recv and send, which nothing counts. */
export interface IoFigures {
  /** System calls. */
  reads: number
  writes: number
  /** Files, pipes and sockets alike. */
  bytesRead: number
  bytesWritten: number
}

/** One measured stretch of load, its drain included. */
export interface Run {
  messages: number
  /** From the first send until everything has arrived and is in MySQL. */
  seconds: number
  perSecond: number
  /** The part of `seconds` after the last send. */
  drainMs: number
  /** Without coordinated omission: what a closed loop did not send because it waited counts too. */
  latency: Latency
  /** Of a closed loop: of the messages that it did send alone. */
  sentLatency?: Latency
  /** How late the generator itself sent, for open loops. */
  lateMs?: Latency
  /** Microseconds of CPU per message, by server process. */
  cpu: Record<string, number>
  cpuTotal: number
  /** The same for the generator, which is not part of the total. */
  generatorCpu: number
  /** Per message, by process; `load` is the generator. */
  io: Record<string, IoFigures>
  /** Per cent of the machine that was used by neither: much of it, and the figures are not for quoting. */
  othersPercent: number
  /** Beginning and end on the monotonic clock, in microseconds. */
  window: [number, number]
}

/** A line of the table, with the run that is shown and all of them. */
export interface LoadFigures {
  name: string
  shown: Run
  runs: Run[]
}

export interface IdleFigures {
  connections: number
  openSeconds: number
  /** The opening on the monotonic clock, in microseconds. */
  window: [number, number]
  /** KiB resident, by server process. */
  residentBefore: Record<string, number>
  residentAfter: Record<string, number>
  /** The same without pages of files, which the kernel takes away and gives back as it likes. */
  ownBefore: Record<string, number>
  ownAfter: Record<string, number>
  /** KiB of its own that the connect process has for each connection. */
  kibPerConnection: number
  /** Per cent of one core while nothing happens, by server process. */
  restCpu: Record<string, number>
  restCpuTotal: number
  /** Per cent of the machine that others used during the rest. */
  othersPercent: number
}

/** MiB resident, by server process. */
export interface MemoryFigures {
  most: Record<string, number>
  /** Mean of the first minute; of the first third, where there are fewer than three minutes. */
  first: Record<string, number>
  last: Record<string, number>
}

export interface OverloadFigures {
  /** Messages a second that the instance took in a closed loop just before. */
  capacity: number
  seconds: number
  offeredPerSecond: number
  accepted: number
  acceptedPerSecond: number
  /** How many by code. */
  refused: Record<string, number>
  refusedPerSecond: number
  /** Messages for which the generator had no line left. */
  unsent: number
  /** Of the refused ones, those that may have been accepted. */
  unknown: number
  /** From the moment a message was meant to go to its 202, in ms. */
  answered: Latency
  /** How late the generator itself sent: part of `answered`. */
  late: Latency
  /** After the last answer, until everything had arrived and was in MySQL. */
  drainMs: number
  memory: MemoryFigures
}

export interface BacklogFigures {
  entries: number
  fillMs: number
  /** From the start of the worker's process until MySQL has all. */
  drainMs: number
  perSecond: number
  memory: MemoryFigures
}

export interface ColdFigures {
  entries: number
  conversations: number
  /** From the connect to the first entry. */
  firstMs: number
  /** From the connect to `synced`. */
  syncedMs: number
  perSecond: number
  memory: MemoryFigures
}

/** What the generator answers. */
export interface Figures {
  suite: SuiteName
  loads: LoadFigures[]
  idle?: IdleFigures
  overload?: OverloadFigures
  backlog?: BacklogFigures
  cold?: ColdFigures
  micro?: LoopFigures[]
  /** What was wrong with what arrived; empty when all is well. */
  faults: string[]
}
