/** What the load generator answers, and what goes into the file of results. */
import type { LoopFigures } from './micro-timing.js'
import type { SuiteName } from './order.js'
import type { Loaded, Timed } from './routes-plan.js'

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

/** Something that was looked at again and again, by server process; of memory, MiB resident. */
export interface Levels {
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
  memory: Levels
}

export interface BacklogFigures {
  entries: number
  fillMs: number
  /** From the start of the worker's process until MySQL has all. */
  drainMs: number
  perSecond: number
  memory: Levels
}

export interface ColdFigures {
  entries: number
  conversations: number
  /** From the connect to the first entry. */
  firstMs: number
  /** From the connect to `synced`. */
  syncedMs: number
  perSecond: number
  memory: Levels
}

/** Requests a second by the store's own counters. */
export type StoreRates = Record<string, { mean: number; most: number }>

export interface StormFigures {
  connections: number
  connectProcesses: number
  clientProcesses: number
  openSeconds: number
  /** KiB of its own that connect has for each connection, all processes together. */
  kibPerConnection: number
  ownBefore: Record<string, number>
  ownAfter: Record<string, number>
  /** Per cent of one core with all connected, heartbeats and the steady messages included, by server process. */
  restCpu: Record<string, number>
  restCpuTotal: number
  othersPercent: number
  /** Written to those who are away, and how long that took. */
  entries: number
  fillMs: number
  spreadMs: number
  /** From the first attempt of anyone until everyone had everything, the spread included. */
  backMs: number
  /** CPU microseconds for each device that came back, by server process and of the clients; what those who stay sent meanwhile is in it. */
  backCpu: Record<string, number>
  clientCpu: number
  /** Of each device: from its first attempt until it had everything. The worst of the client processes. */
  device: Latency
  /** Attempts to come back that failed, by reason. */
  inVain: Record<string, number>
  /**
   * Messages between those who stay, per second, and how they were delivered: while all rest, while all are torn off, while entries are
   * written to those who are away, and while these come back.
   */
  livePerSecond: number
  live: { rest: Latency; drop: Latency; fill: Latency; back: Latency; late: Latency }
  /** Of those messages, refused ones by code. */
  refused: Record<string, number>
  rates: { rest: StoreRates; storm: StoreRates }
  memory: Levels
}

export interface SoakFigures {
  minutes: number
  /** Messages a second that a closed loop took just before; half of it is sent. */
  capacity: number
  perSecond: number
  accepted: number
  /** How many by code. */
  refused: Record<string, number>
  /** From the moment a message was meant to go to its arrival. */
  latency: Latency
  /** How late the generator itself sent. */
  late: Latency
  /** After the last answer, until everything had arrived and was in MySQL. */
  drainMs: number
  memory: Levels
  /** Open files, sockets included. */
  handles: Levels
  /** Of our apps: what keeps their event loops alive, sockets left out. Timers above all. */
  resources: Levels
  /** Of our apps: p99 of the delay of their event loops since the look before, in ms. */
  delay: Levels
  /** Of our apps: what lives in the heap, before the load and when all of it is stored. */
  heap: Record<string, HeapFigures>
}

export interface HeapFigures {
  /** After a full collection. */
  beforeMib: number
  afterMib: number
  /** What has grown most. */
  grown: HeapKind[]
}

/** Objects of one kind that there are more of than before. */
export interface HeapKind {
  kind: string
  count: number
  kib: number
}

/** From an event until the mirror had all of it. */
export interface RoutesStretch {
  ms: number
  /** Until the mirror had the first of it. */
  firstMs: number
  /** Of the mirror's process, its look-ups included. */
  cpuMs: number
  /** How much later than due look-ups were made meanwhile: what entries would have waited. */
  late: Latency
}

export interface RoutesFigures {
  sessions: number
  users: number
  nodes: number
  /** Sessions of the node whose lease was ended. */
  died: number
  /** Until etcd had all of them, a hundred in a transaction and sixteen transactions at once. */
  fillSeconds: number
  /** `loadCpuMs`: what it used while the mirror was loaded; `downMs`: from its end until it answered again. */
  etcd: { dbMib: number; residentMib: number; loadCpuMs: number; downMs: number }
  loaded: Loaded
  /** CPU of a look-up, in ns. */
  lookUp: Timed
  quiet: RoutesStretch
  death: RoutesStretch
  /** The users of the dead node are listed on the others, as fast as etcd takes them. */
  back: RoutesStretch
  /** etcd was killed and started again, and all was read anew. */
  reload: RoutesStretch
}

/** A load at one value of what is varied. */
export interface PointFigures {
  run: Run
  /** CPU ns of the reference loop right before and after: how fast the machine was. */
  referenceNs: number
}

/** What an entry of a backlog takes. */
export interface EntryBytes {
  /** Of Redis' memory, while persist has not stored it: in the stream and in the log of its conversation. */
  waiting: number
  /** And when it is stored: in the log. */
  stored: number
  /** Of the table and its indexes, as MySQL estimates them. */
  mysql: number
}

/** What a message costs over one thing that is varied. */
export interface CurveFigures {
  curve: string
  /** What is varied. */
  axis: string
  /** What is counted, where it is not messages. */
  unit?: string
  points: (PointFigures & { at: number; entryBytes?: EntryBytes })[]
}

/** What a message costs with so many processes of each app, on one Redis or a cluster. */
export interface HorizontalRow extends PointFigures {
  /** The suite, and its calls in flight. */
  load: string
  shards: number
  processes: number
}

/** What the generator answers. */
export interface Figures {
  suite: SuiteName
  loads: LoadFigures[]
  idle?: IdleFigures
  overload?: OverloadFigures
  backlog?: BacklogFigures
  cold?: ColdFigures
  storm?: StormFigures
  soak?: SoakFigures
  routes?: RoutesFigures
  /** Of a short load among several: CPU ns of the reference loop right before and after it. */
  referenceNs?: number
  entryBytes?: EntryBytes
  growth?: CurveFigures[]
  horizontal?: HorizontalRow[]
  micro?: LoopFigures[]
  /** What was wrong with what arrived; empty when all is well. */
  faults: string[]
}
