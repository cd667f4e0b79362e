/** What the bench asks of the load generator: JSON between two processes. What it gets back is in figures.ts. */
import { CONTENT_BYTES } from './checker.js'
import type { Timing } from './micro-timing.js'

/** Everything that can be measured, in the order in which it runs. */
export const SUITES = [
  'direct',
  'batch',
  'ws-send',
  'latency',
  'fanout',
  'idle',
  'overload',
  'backlog',
  'cold-catchup',
  'storm',
  'soak',
  'routes',
  'growth',
  'horizontal',
  'micro',
] as const
/** What runs when nothing is named: what takes minutes is asked for by name. */
export const USUAL_SUITES: readonly SuiteName[] = ['direct', 'batch', 'ws-send', 'latency', 'fanout', 'idle']
export type SuiteName = (typeof SUITES)[number]

/** The long suites run for an hour and more, with what fills and drains them; the tokens outlive them. */
export const TOKEN_LIFE_S = 3 * 3_600

/** How much is done. */
export interface Scale {
  warmUpMs: number
  runMs: number
  /** Runs of a closed-loop suite; the middle one is shown. */
  runs: number
  receivers: number
  /** Others who are connected and hear nothing. */
  bystanders: number
  senders: number
  /** Of each message. */
  contentBytes: number
  /** Calls in flight with one message each. */
  inFlight: number
  /** Calls in flight with `perBatch` messages each. */
  batchesInFlight: number
  perBatch: number
  /** Messages a second of the open loops. */
  rates: readonly number[]
  /** People in the room of one message to all. */
  fanoutMembers: number
  /** How long messages go to the room one by one before that is measured. */
  oneByOneWarmUpMs: number
  connections: number
  restMs: number
  /** How long twice as much is sent as the instance can do. */
  overloadMs: number
  /** Entries that persist has before it when it is started. */
  backlogEntries: number
  /** Entries that one device was not there for. */
  coldEntries: number
  /** Devices that are torn off at once. */
  stormConnections: number
  /** They come back, each at a random moment of this time. */
  stormSpreadMs: number
  /** Messages a second between those who stay. */
  stormRate: number
  /** How long half of what the instance can do is sent. */
  soakMs: number
  /** Sessions in etcd that a worker mirrors. */
  routeSessions: number
  /** How long the inner loops are timed. */
  micro: Timing
}

export const FULL: Scale = {
  warmUpMs: 15_000,
  runMs: 5_000,
  runs: 3,
  receivers: 100,
  bystanders: 0,
  senders: 8,
  contentBytes: CONTENT_BYTES,
  inFlight: 64,
  batchesInFlight: 4,
  perBatch: 100,
  rates: [500, 1_000],
  fanoutMembers: 1_000,
  oneByOneWarmUpMs: 60_000,
  connections: 10_000,
  restMs: 5_000,
  overloadMs: 60_000,
  backlogEntries: 100_000,
  coldEntries: 100_000,
  stormConnections: 10_000,
  stormSpreadMs: 30_000,
  stormRate: 200,
  soakMs: 60_000,
  routeSessions: 200_000,
  micro: { warmUpMs: 200, sliceMs: 15, rounds: 21 },
}

/** For a look while working; too short for figures to quote. */
export const QUICK: Scale = {
  ...FULL,
  warmUpMs: 1_000,
  oneByOneWarmUpMs: 1_000,
  runMs: 1_500,
  runs: 1,
  connections: 1_000,
  restMs: 2_000,
  overloadMs: 10_000,
  backlogEntries: 10_000,
  coldEntries: 10_000,
  stormConnections: 1_000,
  stormSpreadMs: 5_000,
  soakMs: 15_000,
  routeSessions: 20_000,
  micro: { warmUpMs: 100, sliceMs: 10, rounds: 9 },
}

/** A server process whose CPU counts. */
export interface ServerProcess {
  name: string
  pid: number
  /** Where an app tells its metrics. */
  ops?: string
}

export interface Address {
  host: string
  port: number
}

/** What needs no instance. */
export interface MicroOrder {
  suite: 'micro'
  scale: Scale
}

/** What needs an etcd and nothing else. */
export interface RoutesOrder {
  suite: 'routes'
  scale: Scale
  etcdUrl: string
  processes: readonly ServerProcess[]
}

/** What a short load among several needs beside its scale. */
export interface PointOrder {
  /** What its people's names begin with: several loads follow each other on one instance. */
  crowd: string
  /** Entries that wait for persist while the load runs, and the worker that is held up and stores them afterwards. */
  backlog?: { entries: number; worker: ServerProcess }
}

/** One suite to run against one instance. */
export interface Order {
  suite: Exclude<SuiteName, 'micro' | 'routes' | 'growth' | 'horizontal'>
  /** It is one of several short loads: see series.ts. */
  point?: PointOrder
  scale: Scale
  api: Address
  /** Of every api process; `api` is the first. */
  apis: readonly Address[]
  websocket: string
  /** Of every connect process; `websocket` is the first. */
  websockets: readonly string[]
  jwtSecret: string
  redisUrl: string
  mysqlUrl: string
  etcdUrl: string
  partitions: number
  /** Folder in which the apps write snapshots of their heaps when they are sent a signal. */
  snapshots?: string
  processes: readonly ServerProcess[]
}
