/** What lives in an app's heap. V8 writes a snapshot when it is sent a signal, after a full collection: nothing in the app takes part. */
import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Failure } from '../failure.js'
import type { HeapFigures, HeapKind } from './figures.js'
import type { ServerProcess } from './order.js'

/** One that means nothing else to anybody: at SIGUSR2, the usual one, our apps end. */
const SIGNAL = 'SIGPWR'
const SNAPSHOT_MS = 120_000
const POLL_MS = 50
const SHOWN = 5

/** Objects of one kind. */
interface Held {
  count: number
  bytes: number
}
export type Heap = ReadonlyMap<string, Held>

/** What Node has to be started with. */
export const snapshotFlags = (folder: string): string[] => [
  `--heapsnapshot-signal=${SIGNAL}`,
  `--diagnostic-dir=${folder}`,
]

/** The heap of each app, by process name; those of several processes of one app together. */
export async function readHeaps(processes: readonly ServerProcess[], folder: string): Promise<Map<string, Heap>> {
  const heaps = new Map<string, Heap>()
  for (const { name, pid, ops } of processes) {
    // Only our apps have an ops port; one at a time, for a snapshot takes memory and a core.
    if (ops === undefined) continue
    const heap = heapOf(await takeSnapshot(pid, ops, folder))
    heaps.set(name, merge(heaps.get(name), heap))
  }
  return heaps
}

/** Sends the signal and waits until the file is whole. @returns its text */
async function takeSnapshot(pid: number, ops: string, folder: string): Promise<string> {
  const deadline = performance.now() + SNAPSHOT_MS
  process.kill(pid, SIGNAL)
  for (;;) {
    const name = readdirSync(folder).find(
      (each) => each.endsWith('.heapsnapshot') && each.split('.').includes(String(pid)),
    )
    if (name !== undefined) {
      await answered(ops, deadline)
      const path = join(folder, name)
      const text = readFileSync(path, 'utf8')
      rmSync(path)
      return text
    }
    if (performance.now() > deadline) throw new Failure(`Process ${pid} writes no snapshot of its heap.`)
    await sleep(POLL_MS)
  }
}

/** The file is written in one go, by the thread that answers here: it is whole when there is an answer. */
async function answered(ops: string, deadline: number): Promise<void> {
  for (;;) {
    try {
      await fetch(`${ops}/healthz`, { signal: AbortSignal.timeout(SNAPSHOT_MS) })
      return
    } catch (error) {
      // A connection that was kept from before has been closed while nobody could say so.
      if (performance.now() > deadline) throw error
      await sleep(POLL_MS)
    }
  }
}

interface Snapshot {
  snapshot: { meta: { node_fields: string[]; node_types: [string[], ...unknown[]] } }
  /** The fields of all nodes, one after the other. */
  nodes: number[]
  strings: string[]
}

/** Adds up a snapshot by kind: objects by their constructor, everything else by what V8 calls it. */
export function heapOf(text: string): Heap {
  const { snapshot, nodes, strings } = JSON.parse(text) as Snapshot
  const { node_fields: fields, node_types: types } = snapshot.meta
  const [type, name, size] = ['type', 'name', 'self_size'].map((field) => fields.indexOf(field)) as [
    number,
    number,
    number,
  ]
  const heap = new Map<string, Held>()
  for (let at = 0; at < nodes.length; at += fields.length) {
    const word = types[0][nodes[at + type]!]!
    const kind = word === 'object' ? strings[nodes[at + name]!]! : `(${word})`
    const held = heap.get(kind) ?? { count: 0, bytes: 0 }
    held.count++
    held.bytes += nodes[at + size]!
    heap.set(kind, held)
  }
  return heap
}

function merge(one: Heap | undefined, other: Heap): Heap {
  const all = new Map<string, Held>()
  for (const heap of [one ?? new Map<string, Held>(), other])
    for (const [kind, { count, bytes }] of heap) {
      const sum = all.get(kind) ?? { count: 0, bytes: 0 }
      all.set(kind, { count: sum.count + count, bytes: sum.bytes + bytes })
    }
  return all
}

/** Two looks at the same apps, held against each other. */
export function compareHeaps(
  before: ReadonlyMap<string, Heap>,
  after: ReadonlyMap<string, Heap>,
): Record<string, HeapFigures> {
  return Object.fromEntries(
    [...after].map(([app, heap]) => {
      const first = before.get(app) ?? new Map<string, Held>()
      const grown = [...heap].map(([kind, { count, bytes }]): HeapKind => {
        const { count: countBefore = 0, bytes: bytesBefore = 0 } = first.get(kind) ?? {}
        return { kind, count: count - countBefore, kib: (bytes - bytesBefore) / 1_024 }
      })
      const most = grown.filter(({ kib }) => kib > 0).sort((a, b) => b.kib - a.kib)
      return [app, { beforeMib: mibOf(first), afterMib: mibOf(heap), grown: most.slice(0, SHOWN) }]
    }),
  )
}

/** The kinds of objects that have grown, for people. */
export const kindsOf = (grown: readonly HeapKind[]): string =>
  grown.map(({ kind, count, kib }) => `${kind} ${kib.toFixed(0)} KiB (${count} more)`).join(', ') || 'nothing'

const mibOf = (heap: Heap): number => [...heap.values()].reduce((sum, { bytes }) => sum + bytes, 0) / 2 ** 20
