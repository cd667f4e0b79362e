/**
 * The inner loops of a message's way, as they are built, with as little around them as can be: no store, no socket. The runner lies below
 * the packages and knows them by their built files alone.
 */
import { EventEmitter } from 'node:events'
import { type Entry, messageFrame } from '@tidings/protocol'
import { contentOf } from './checker.js'
import type { Loop } from './micro-timing.js'

const PARTITIONS = 16
const CONVERSATIONS = 200
const SESSIONS = 10_000
const NODES = 4
/** What comes in one turn of the event loop. */
const PER_TURN = 100
const log = { info() {}, warn() {}, error() {}, debug() {} }

interface Keys {
  partitionOf(name: string): number
}
interface Appended {
  seq: number
}
interface Stream {
  createKeys(namespace: string, partitions: number): Keys
  decodeEntry(fields: readonly string[], partition: number, partitionOf: (name: string) => number): Entry
  createAppender(options: object): { append(item: object): Promise<Appended> }
}
interface Routes {
  nodesOf(user: string): Iterable<string>
}
interface Registry {
  createRegistryKeys(namespace: string): { sessions(): string; session(user: string, session: string): string }
  mirrorRoutes(registry: object, log: object): Promise<Routes>
}
interface Task {
  route(delivery: object, where: Routes, rooms: object, byNode: Map<string, unknown[]>): void
}
interface Connect {
  Flow: new (position: number) => { push(seq: number, frame: string, show: (frame: string) => void): boolean }
}

const load = async <T>(path: string): Promise<T> =>
  (await import(new URL(`../../../../${path}`, import.meta.url).href)) as T

const user = (i: number): string => `user-${i % SESSIONS}`
const entries: Entry[] = Array.from({ length: CONVERSATIONS }, (_, i) => ({
  id: String(7_261_234_567_890_000_000n + BigInt(i)),
  conversation: `dm:${[user(2 * i), user(2 * i + 1)].sort().join(':')}`,
  seq: i + 1,
  n: i + 1,
  from: user(2 * i),
  type: 'text',
  content: contentOf(i),
  clientId: '',
  sentAt: 1_763_700_000_000 + i,
  trace: '',
}))

/** All of them, ready to run. */
export async function innerLoops(): Promise<Loop[]> {
  const [stream, registry, task, connect] = await Promise.all([
    load<Stream>('packages/stream/dist/src/index.js'),
    load<Registry>('packages/registry/dist/src/index.js'),
    load<Task>('apps/task/dist/src/route.js'),
    load<Connect>('apps/connect/dist/src/sequencer.js'),
  ])
  const keys = stream.createKeys('tidings', PARTITIONS)
  const routes = await registry.mirrorRoutes(registryOf(registry.createRegistryKeys('tidings')), log)
  return [
    appendPacking(stream, keys),
    streamDecode(stream, keys),
    { name: 'frame building', units: entries.length, run: () => sum(entries, (entry) => messageFrame(entry).length) },
    sequencer(connect),
    {
      name: 'route look-up',
      units: entries.length,
      run: () => sum(entries, ({ from }) => [...routes.nodesOf(from)].length),
    },
    routing(task, routes),
  ]
}

/** Stage 2 up to the call's bytes and from its answer on: lines, batches, keys, arguments. A Redis that answers at once stands behind it. */
function appendPacking({ createAppender }: Stream, keys: Keys): Loop {
  const items = entries.slice(0, PER_TURN)
  // What comes in one turn is one call, with a line per partition in the order in which they come.
  const lines = new Map<number, number>()
  for (const { conversation } of items) {
    const partition = keys.partitionOf(conversation)
    lines.set(partition, (lines.get(partition) ?? 0) + 1)
  }
  let seq = 0
  const redis = {
    status: 'ready',
    sendCommand: async () =>
      [...lines.values()].map((count) => ['1', ...Array.from({ length: count }, () => `A ${++seq} 1763700000000-0`)]),
  }
  const metrics = { append: { done() {}, failed() {} } }
  const appender = createAppender({ redis, keys, replicas: 0, generations: {}, metrics })
  return {
    name: 'append packing',
    units: items.length,
    async run() {
      const appended = await Promise.all(items.map((item) => appender.append(item)))
      return appended.at(-1)!.seq
    },
  }
}

function streamDecode({ decodeEntry }: Stream, { partitionOf }: Keys): Loop {
  const rows = entries.map((entry) => ({
    partition: partitionOf(entry.conversation),
    fields: Object.entries(entry).flatMap(([name, value]) => [name, String(value)]),
  }))
  return {
    name: 'stream decode',
    units: rows.length,
    run: () => sum(rows, ({ fields, partition }) => decodeEntry(fields, partition, partitionOf).seq),
  }
}

/** Entries of many conversations in turn, each the next of its own. */
function sequencer({ Flow }: Connect): Loop {
  const flows = entries.map(() => new Flow(0))
  let seq = 0
  let shown = 0
  const show = (frame: string): void => {
    shown += frame.length
  }
  return {
    name: 'sequencer',
    units: flows.length,
    run() {
      seq++
      for (const flow of flows) flow.push(seq, 'frame', show)
      return shown
    },
  }
}

const noRooms = { nodesOf: () => [], allNodes: () => [] }

function routing({ route }: Task, routes: Routes): Loop {
  const deliveries = entries.map((entry) => ({ entry, partition: 0, fence: 1, streamId: '1-0' }))
  return {
    name: 'route',
    units: deliveries.length,
    run() {
      const byNode = new Map<string, unknown[]>()
      for (const delivery of deliveries) route(delivery, routes, noRooms, byNode)
      return byNode.size
    },
  }
}

/** An etcd that holds sessions and has no news. */
function registryOf(keys: ReturnType<Registry['createRegistryKeys']>): object {
  const kvs = Array.from({ length: SESSIONS }, (_, i) => ({
    key: Buffer.from(keys.session(user(i), `session-${i}`)),
    value: Buffer.from(JSON.stringify({ node: `connect-${i % NODES}`, device: 'default' })),
    mod_revision: '1',
  }))
  const page = { header: { revision: '1' }, kvs, more: false }
  const query = { inRange: () => query, limit: () => query, exec: async () => page }
  const watch = {
    prefix: () => watch,
    startRevision: () => watch,
    watcher() {
      const watcher = new EventEmitter()
      setImmediate(() => watcher.emit('connected'))
      return watcher
    },
  }
  return { keys, etcd: { getAll: () => query, watch: () => watch } }
}

/** Uses every result, so that no compiler leaves the work out. */
function sum<T>(items: readonly T[], of: (item: T) => number): number {
  let total = 0
  for (const item of items) total += of(item)
  return total
}
