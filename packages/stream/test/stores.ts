/** Real Redis for the tests of this package: a fresh namespace per test, gone afterwards. */

import { randomBytes } from 'node:crypto'
import { AppError } from '@tidings/protocol'
import { createLogger, createMetrics } from '@tidings/service'
import { given } from '@tidings/service/test-env'
import type { Test } from 'tap'
import {
  connectRedis,
  createKeys,
  createStreamMetrics,
  type Generations,
  installMembers,
  type Keys,
  type LedgerRow,
  leapConversation,
  openGeneration,
  type Redis,
  type RoomMembers,
} from '../src/index.js'

export const log = createLogger({ app: 'test', instance: 'test', level: 'silent' })

export interface Bench {
  redis: Redis
  keys: Keys
  url: string
  metrics: ReturnType<typeof createStreamMetrics>
  /** As logic provides them, with a ledger that lasts as long as the test, and nothing in MySQL. */
  generations: Generations
  connect(): Promise<Redis>
}

/**
 * @param rows the ledger by partition
 * @param rooms what is kept of their members, by conversation
 */
export function generationsOf(
  redis: Redis,
  keys: Keys,
  rows = new Map<number, LedgerRow>(),
  rooms: ReadonlyMap<string, RoomMembers> = new Map(),
): Generations {
  return {
    async open(partition) {
      await openGeneration(redis, keys, partition, {
        read: async () => rows.get(partition),
        async write(seen, row) {
          if (rows.get(partition) !== seen) return false
          rows.set(partition, row)
          return true
        },
      })
    },
    async leap(_, conversations) {
      const nothing = { seq: 0, n: 0, sends: [], newer: false }
      for (const conversation of conversations) await leapConversation(redis, keys, conversation, async () => nothing)
    },
    async leapUsed(partition, conversation) {
      const used = (await redis.exists(keys.seq(conversation))) === 1
      if (used) await this.leap(partition, [conversation])
      return used
    },
    async restoreMembers(conversation) {
      const members = rooms.get(conversation)
      if (!members) throw new AppError('conversation_not_found')
      await installMembers(redis, keys, conversation, async () => members)
    },
  }
}

/** @param elsewhere another Redis than that of the test run */
export async function bench(t: Test, partitions = 4, elsewhere?: string): Promise<Bench> {
  const url = elsewhere ?? given('TIDINGS_REDIS_URL')
  const keys = createKeys(`t${randomBytes(6).toString('hex')}`, partitions)
  const opened: Redis[] = []
  const connect = async (): Promise<Redis> => {
    const redis = await connectRedis(url, log)
    opened.push(redis)
    return redis
  }
  const redis = await connect()
  t.teardown(async () => {
    // A Redis of the test's own goes with all it holds.
    const names = elsewhere === undefined ? await redis.keys(`${keys.namespace}:*`) : []
    if (names.length > 0) await redis.del(names)
    for (const one of opened) one.disconnect()
  })
  return {
    redis,
    keys,
    url,
    connect,
    generations: generationsOf(redis, keys),
    metrics: createStreamMetrics(createMetrics('test', 'test')),
  }
}

/** Waits for a fact. */
export async function until(what: string, check: () => unknown, withinMs = 30_000): Promise<void> {
  const end = performance.now() + withinMs
  for (;;) {
    if (await check()) return
    if (performance.now() > end) throw new Error(`never came true: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
