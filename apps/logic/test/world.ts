/** Logic without its process: a database and a key space of one's own, and people who talk. Removed after the test. */

import { randomBytes } from 'node:crypto'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { migrate } from '@tidings/migrations'
import { dmId, type Entry, type logicRpc, type ReceiptEvent } from '@tidings/protocol'
import { createIds, type RoomNotice } from '@tidings/registry'
import { createLogger, createMetrics } from '@tidings/service'
import { given } from '@tidings/service/test-env'
import { connectStore, insertEntries, insertUser, raiseFence, type Store } from '@tidings/store'
import {
  type Appended,
  type AppendItem,
  connectRedis,
  createAppender,
  createKeys,
  createLogReader,
  createStreamMetrics,
  type Keys,
  type Redis,
  watchRevocations,
} from '@tidings/stream'
import type { Test } from 'tap'
import { createBroadcasts } from '../src/broadcasts.js'
import { openDevices } from '../src/cursors.js'
import { createDevices } from '../src/devices.js'
import { startGenerations } from '../src/generations.js'
import { createKeptUsers } from '../src/kept-users.js'
import { createListingCursors } from '../src/listing-cursor.js'
import { createLooks } from '../src/message-state.js'
import { createGenerationMetrics } from '../src/metrics.js'
import { createOutbox, type OutboxDeps } from '../src/outbox.js'
import { unwrap } from '../src/outcome.js'
import { createPasswords } from '../src/passwords.js'
import { type PermitDeps, permits } from '../src/permit.js'
import { createReceipts } from '../src/receipts.js'
import { startRevocations } from '../src/revocations.js'
import { createRoomSearches } from '../src/rooms/rooms.js'
import { createTurns } from '../src/rooms/turns.js'
import { createSearches } from '../src/search.js'
import type { LogicDeps } from '../src/server.js'
import { startWriteBehind } from '../src/write-behind.js'

export const log = createLogger({ app: 'logic', instance: 'test', level: 'silent' })

export interface World {
  deps: LogicDeps
  redis: Redis
  keys: Keys
  store: Store
  mysqlUrl: string
  namespace: string
  /** Receipts that were published. */
  told: ReceiptEvent[]
  /** Live devices by user, as etcd would list them. */
  online: Map<string, number>
  /** As many users as there are names. */
  people(...names: string[]): Promise<void>
  /** Appends to the conversation of the two, as accept does. @param other what is to be otherwise in it */
  say(from: string, to: string, text: string, other?: Partial<AppendItem>): Promise<Appended>
  /** Appends to a room, as accept does. */
  sayIn(room: string, from: string, text: string, clientId?: string): Promise<Appended>
  /** A logic process more on the same stores, with what is to be otherwise in it. */
  another(other?: Partial<OutboxDeps>): LogicDeps
  /** What etcd was told of rooms. */
  notices: (RoomNotice & { room: string })[]
  /** Stores what the log of a conversation holds, as persist does. */
  persist(conversation: string): Promise<Entry[]>
  /** Forgets every key of this world, as FLUSHALL would. */
  forgetRedis(): Promise<void>
  /** The database goes away, or answers nothing, and comes back. */
  mysql: { cut(): void; freeze(): void; heal(): void }
}

const PARTITIONS = 4

export async function world(t: Test): Promise<World> {
  const unique = randomBytes(6).toString('hex')
  const direct = new URL(given('TIDINGS_MYSQL_URL'))
  direct.pathname = `/t_${unique}`
  await migrate(direct.href)
  const proxy = await startProxy(direct)
  const mysqlUrl = new URL(direct)
  mysqlUrl.hostname = '127.0.0.1'
  mysqlUrl.port = String(proxy.port)

  const keys = createKeys(`t-${unique}`, PARTITIONS)
  const redis = await connectRedis(given('TIDINGS_REDIS_URL'), log)
  const store = connectStore(mysqlUrl.href, log)
  const reader = createLogReader(redis, keys)
  const writeBehind = startWriteBehind({ store, log })
  const revocations = startRevocations({ redis, keys, store, accessTokenS: 600, log })
  const revocationWatch = await watchRevocations({ redis, keys, keepMs: 600_000, log })
  const keptUsers = createKeptUsers(revocationWatch.hear)
  revocationWatch.onUsers(keptUsers.forget)
  revocationWatch.onSends((_, blocker) => keptUsers.forget([blocker]))
  const metrics = createStreamMetrics(createMetrics('logic', 'test'))
  const generations = startGenerations({
    redis,
    keys,
    store,
    reader,
    log,
    metrics: createGenerationMetrics(createMetrics('logic', 'generations')),
  })
  const appender = createAppender({ redis, keys, replicas: 0, generations, metrics })
  let lastId = 7_261_234_567_890_123_456n
  let workers = 0
  const notices: World['notices'] = []

  const newOutbox = (other: Partial<OutboxDeps> = {}) =>
    createOutbox({
      ...{ redis, keys, store, reader, log },
      appender: createAppender({
        ...{ redis, keys, replicas: 0, metrics },
        generations: { ...generations, restoreMembers: generations.restoreEndedToo },
      }),
      nextId: createIds({ n: ++workers, fresh: () => true }),
      notices: { put: async (room, notice) => void notices.push({ room, ...notice }) },
      restoreMembers: generations.restoreEndedToo,
      ...other,
    })

  const told: ReceiptEvent[] = []
  const online = new Map<string, number>()

  async function forgetRedis(): Promise<void> {
    const names = await redis.keys(`t-${unique}:*`)
    if (names.length > 0) await redis.del(...names)
  }

  function itemOf(conversation: string, from: string, text: string) {
    lastId += 1n
    const content = JSON.stringify({ text })
    const sentAt = Date.now()
    return { id: String(lastId), conversation, from, type: 'text', content, clientId: '', sentAt, trace: '' }
  }

  t.after(async () => {
    proxy.heal()
    await generations.stop()
    await revocationWatch.stop()
    await revocations.stop()
    await writeBehind.stop()
    await forgetRedis()
    await store.use((db) => db.run(`DROP DATABASE t_${unique}`))
    await store.stop()
    redis.disconnect()
    proxy.stop()
  })

  const broadcasts = createBroadcasts({ store, reader })
  const deps: LogicDeps = {
    redis,
    keys,
    store,
    reader,
    writeBehind,
    generations,
    revocations,
    keptUsers,
    listingCursors: createListingCursors(`secret of ${unique}`),
    log,
    broadcasts,
    devices: createDevices({ redis, keys, store, broadcasts, writeBehind, most: 200, log }),
    passwords: await createPasswords(),
    search: createSearches(true),
    looks: createLooks(),
    registration: 'open',
    hooks: { allowPrivate: false, secretOverlapS: 60, webPush: true, served: () => true },
    refreshTokenS: 3_600,
    fileQuotaBytes: 0,
    editWindowS: 900,
    recallWindowS: 900,
    outbox: newOutbox(),
    turns: createTurns(),
    roomSearches: createRoomSearches(),
    liveDevices: { of: async (users) => users.map((user) => online.get(user) ?? 0) },
    receipts: createReceipts({ redis, keys, publish: (event) => void told.push(event), log }),
    routed: async () => ({ nodes: [], forgotten: [], unanswered: [] }),
    live: { of: async () => [], signInOf: async () => undefined, kick: async () => {} },
  }
  return {
    deps,
    notices,
    another: (other) => ({ ...deps, outbox: newOutbox(other), turns: createTurns() }),
    redis,
    keys,
    store,
    mysqlUrl: mysqlUrl.href,
    namespace: `t-${unique}`,
    forgetRedis,
    told,
    online,
    mysql: proxy,
    async people(...names) {
      for (const id of names) {
        await insertUser(store, { id, displayName: `${id} the person`, passwordHash: null, createdAt: new Date() })
      }
    },
    async say(from, to, text, other) {
      const conversation = dmId(from, to)
      for (const user of new Set([from, to])) await redis.sadd(keys.conversations(user), conversation)
      return appender.append({ ...itemOf(conversation, from, text), ...other })
    },
    sayIn: (room, from, text, clientId = '') =>
      appender.append({ ...itemOf(`room:${room}`, from, text), clientId, members: 'check' }),
    async persist(conversation) {
      const entries = await reader.after(conversation, 0, 1_000)
      // As a worker that claims again after a generation was lost.
      const partition = keys.partitionOf(conversation)
      const fence = (await raiseFence(store, 'persist', partition, 1)) ?? 1
      const batch = entries.map((entry) => ({ partition, fence, entry }))
      await insertEntries(store, batch, 'persist', [conversation])
      return entries
    },
  }
}

/** Where one device stands. */
export async function openDevice(deps: LogicDeps, user: string, device: string): Promise<logicRpc.Position[]> {
  return unwrap((await openDevices(deps, { devices: [{ user, device }] }))[0]!)
}

/** Waits for a fact. */
export async function until(fact: () => boolean | Promise<boolean>, withinMs = 30_000): Promise<void> {
  const end = performance.now() + withinMs
  while (!(await fact())) {
    if (performance.now() > end) throw new Error(`not so within ${withinMs} ms: ${fact}`)
    await delay(10)
  }
}

async function startProxy(target: URL) {
  const sockets = new Set<Socket>()
  let open = true
  let frozen = false
  const server = createServer((client) => {
    if (!open) return void client.destroy()
    const upstream = connect(Number(target.port), target.hostname)
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(socket)
      socket.pipe(other)
      if (frozen) socket.pause()
      // The other side ends with it.
      socket.on('error', () => other.destroy())
      socket.on('close', () => {
        sockets.delete(socket)
        other.destroy()
      })
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const cut = () => {
    open = false
    for (const socket of sockets) socket.destroy()
  }
  return {
    port: (server.address() as AddressInfo).port,
    cut,
    freeze() {
      frozen = true
      for (const socket of sockets) socket.pause()
    },
    heal() {
      open = true
      frozen = false
      for (const socket of sockets) socket.resume()
    },
    stop() {
      cut()
      server.close()
    },
  }
}

/** One permit, as if it were asked for alone. */
export const permit = async (deps: PermitDeps, request: logicRpc.PermitRequest) =>
  unwrap((await permits(deps, { permits: [request] }))[0]!)
