/** What runs for a data folder, written down so that another command, or the next start after a crash, finds it. */
import { rmSync } from 'node:fs'
import type { DataSet } from './close.js'
import { asRecord, type DataFolder } from './data.js'
import { Failure } from './failure.js'
import { readJson, writeJson } from './files.js'
import { end, type Identity, isRunning } from './process.js'

/** One process of the instance. */
export interface Child extends Identity {
  name: string
  instance: string
  ports: Record<string, number>
}

/** Everything that runs. */
export interface State {
  children: Child[]
  /** Where people reach the instance; absent until it is ready. */
  urls?: { api: string; websocket: string }
  /** What lies in a Redis of our own, for whoever stops it when its runner is gone. Its address of MySQL holds a password. */
  dataSet?: DataSet
}

/** In this order they end: those who accept first, so that what is accepted still finds the others. */
const STOP_ORDER: readonly (readonly string[])[] = [
  ['turbo', 'tsc', 'api', 'connect'],
  ['task'],
  ['logic'],
  ['redis', 'mysql', 'etcd'],
]
/**
 * What each stage has at least: the time of a later one is kept back from a slow one before it. The edges let requests end and write the
 * last acks: api takes up to 2.5 s for it, connect 3 s.
 */
const LEAST_MS = [3_200, 800, 500, 1_800]
const STOP_TOTAL_MS = LEAST_MS.reduce((sum, ms) => sum + ms, 0)

/** Reads the state; empty when there is none. */
export function readState(data: DataFolder): State {
  const found = asRecord(readJson(data.state))
  if (Object.keys(found).length === 0) return { children: [] }
  if (!Array.isArray(found.children) || !found.children.every(isChild)) {
    throw new Failure(
      `${data.state} is damaged: look with ps for processes that were left running, move the file away and run the command again.`,
    )
  }
  const urls = asRecord(found.urls)
  return {
    children: found.children,
    ...(isDataSet(found.dataSet) && { dataSet: found.dataSet }),
    ...(typeof urls.api === 'string' && typeof urls.websocket === 'string'
      ? { urls: { api: urls.api, websocket: urls.websocket } }
      : {}),
  }
}

function isDataSet(value: unknown): value is DataSet {
  const { redisUrl, mysqlUrl, namespace, partitions } = asRecord(value)
  const texts = [redisUrl, mysqlUrl, namespace]
  return texts.every((text) => typeof text === 'string') && typeof partitions === 'number'
}

/** Writes the state down, at once and as a whole. */
export function writeState(data: DataFolder, state: State): void {
  writeJson(data.state, state)
}

/** Forgets the state: nothing runs any more. */
export function clearState(data: DataFolder): void {
  rmSync(data.state, { force: true })
}

/** Those that still run. A pid that now belongs to another process does not count. */
export function stillRunning(children: readonly Child[]): Child[] {
  return children.filter((child) => isRunning(child))
}

/**
 * Ends processes, stage by stage, all within seven seconds. What does not end in its time is killed.
 * @param beforeStores called when no app runs any more and the stores still do; its time comes on top
 */
export async function endInOrder(
  children: readonly Child[],
  say: (line: string) => void,
  beforeStores?: () => Promise<void>,
): Promise<void> {
  let deadline = Date.now() + STOP_TOTAL_MS
  for (const [index, names] of STOP_ORDER.entries()) {
    if (names.includes('redis') && children.some((child) => child.name === 'redis' && isRunning(child))) {
      const began = Date.now()
      await beforeStores?.()
      deadline += Date.now() - began
    }
    const later = LEAST_MS.slice(index + 1).reduce((sum, ms) => sum + ms, 0)
    const graceMs = Math.max(100, deadline - later - Date.now())
    const stage = children.filter((child) => names.includes(child.name))
    await Promise.all(
      stage.map(async (child) => {
        const how = await end(child, graceMs)
        if (how === 'killed')
          say(`${child.instance} (pid ${child.pid}) did not stop within ${graceMs} ms and was killed`)
      }),
    )
  }
}

function isChild(value: unknown): value is Child {
  const { pid, start, name, instance, ports } = asRecord(value)
  return (
    Number.isInteger(pid) &&
    typeof start === 'string' &&
    typeof name === 'string' &&
    typeof instance === 'string' &&
    typeof ports === 'object'
  )
}
