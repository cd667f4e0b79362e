/** What the tests of the streams are put together from: items, appenders, entries written by hand, consumers. */
import type { Test } from 'tap'
import {
  type Appender,
  type AppendItem,
  type Consumer,
  createAppender,
  type Delivery,
  ensureGroups,
  type Group,
  type Handler,
  startConsumer,
} from '../src/index.js'
import { type Bench, log } from './stores.js'

export const CONVERSATION = 'dm:alice:bob'

let made = 5_000
export const item = (over: Partial<AppendItem> = {}): AppendItem => ({
  id: String(made++),
  conversation: CONVERSATION,
  from: 'alice',
  type: 'text',
  content: '{"text":"hello"}',
  clientId: '',
  sentAt: 1,
  trace: '',
  ...over,
})

export const appenderOf = (b: Bench, replicas = 0): Appender =>
  createAppender({ redis: b.redis, keys: b.keys, replicas, generations: b.generations, metrics: b.metrics })

/** The fields of a stream entry, as an operator would type them. */
export function fieldsOf(over: Record<string, string> = {}): string[] {
  const all = { id: '77', conversation: CONVERSATION, seq: '1', n: '1', from: 'alice', type: 'text', content: '{}' }
  return Object.entries({ ...all, clientId: '', sentAt: '1', trace: '', ...over }).flat()
}

export interface ConsumerOptions {
  name?: string
  group?: Group
  log?: typeof log
  gatherMs?: number
  gatherFrom?: number
  roundMs?: number
  /** Nothing, unless said. */
  onDisowned?(consumer: Consumer, partition: number, by: number): void
}

/** A consumer that owns nothing yet, on groups that are there. */
export async function consumer(t: Test, b: Bench, handler: Handler, options: ConsumerOptions = {}): Promise<Consumer> {
  const group = options.group ?? 'persist'
  const partitions = Array.from({ length: b.keys.partitions }, (_, p) => p)
  await ensureGroups(b.redis, b.keys, group, partitions)
  const started = startConsumer({
    group,
    consumer: options.name ?? 'one',
    keys: b.keys,
    redis: b.redis,
    handler,
    window: 1,
    gatherMs: options.gatherMs ?? 0,
    gatherFrom: options.gatherFrom ?? 0,
    roundMs: options.roundMs ?? 20,
    settleMs: 25,
    onDisowned: (partition, _, by) => options.onDisowned?.(started, partition, by),
    metrics: b.metrics,
    log: options.log ?? log,
  })
  t.teardown(() => started.stop())
  return started
}

export const collect = (into: Delivery[]): Handler => ({
  async handle(batch) {
    into.push(...batch)
    return {}
  },
})

/** Entries that persist has read and not settled. */
export const pendingOf = async (b: Bench, p: number): Promise<number> =>
  Number(((await b.redis.xpending(b.keys.messages(p), 'persist')) as [number])[0])
