/**
 * A bus between our processes for what may be lost: one channel of Redis. Whoever publishes does not wait and never fails; what does
 * not fit, or finds Redis away, is dropped and counted. On a cluster every node passes on what any node is given.
 */
import { setImmediate as immediate } from 'node:timers/promises'
import { type Ephemeral, ephemeralText, parseEphemerals } from '@tidings/protocol'
import { backoffMs, type Logger, Pacer, pause, type Stoppable } from '@tidings/service'
import { serverOf } from './cluster.js'
import { ephemeralChannel, type Keys } from './keys.js'
import type { ServerAddress } from './read-connection.js'
import { Connection, type Redis } from './redis.js'

const MAX_WAITING = 10_000
const PER_MESSAGE = 500
/** Every node wakes up for every message: what comes within this time of the one before goes together. */
const GATHER_MS = 100
/** How often a subscriber makes sure that it still hears: a link that is cut without a sign is silent like a quiet one. */
const LOOK_EVERY_MS = 5_000
const ANSWER_WITHIN_MS = 1_000
const RETRY = { firstMs: 50, maxMs: 1_000 }

export interface EphemeralPublisher extends Stoppable {
  /** At once, or with whatever else comes within 100 ms of the last message, in one message; so many as fill one wait for nothing. */
  publish(event: Ephemeral): void
  /** What waits goes now. Resolves when Redis has it, or has failed. */
  stop(): Promise<void>
}

/** @param dropped told of events that nobody will hear of */
export function createEphemeralPublisher(deps: {
  redis: Pick<Redis, 'publish'>
  keys: Pick<Keys, 'namespace'>
  dropped(events: number): void
  log: Logger
}): EphemeralPublisher {
  const { redis, keys, dropped, log } = deps
  const channel = ephemeralChannel(keys)
  const waiting: Ephemeral[] = []
  const pacer = new Pacer({ perItemMs: GATHER_MS, mostMs: GATHER_MS }, PER_MESSAGE)
  let sending: Promise<void> | undefined

  async function send(): Promise<void> {
    // What is published in one turn goes together.
    await immediate()
    while (waiting.length > 0) {
      await pacer.wait(waiting.length)
      const batch = waiting.splice(0, PER_MESSAGE)
      pacer.began(batch.length)
      try {
        await redis.publish(channel, ephemeralText(batch))
      } catch (error) {
        dropped(batch.length)
        log.debug({ err: error instanceof Error ? error.message : error, events: batch.length }, 'events are dropped')
      }
    }
    sending = undefined
  }

  return {
    publish(event) {
      if (waiting.length >= MAX_WAITING) {
        dropped(1)
        return
      }
      waiting.push(event)
      pacer.more(waiting.length)
      sending ??= send()
    },
    async stop() {
      pacer.hurry()
      await sending
    },
  }
}

export interface EphemeralListener {
  events(events: readonly Ephemeral[]): void
  /** Listening anew: what was published meanwhile is lost. */
  missed(): void
}

/** Listens on a connection of its own, and again whenever that ends. Resolves when it listens, or has failed for the first time. */
export async function subscribeEphemeral(deps: {
  redis: Redis
  keys: Pick<Keys, 'namespace'>
  listener: EphemeralListener
  lookEveryMs?: number
  log: Logger
}): Promise<Stoppable> {
  const { redis, keys, listener, lookEveryMs = LOOK_EVERY_MS, log } = deps
  const channel = ephemeralChannel(keys)
  const stopper = new AbortController()
  let failures = 0
  let heard = false

  function told(text: string): void {
    try {
      listener.events(parseEphemerals(text))
    } catch (error) {
      log.error({ err: error }, 'an ephemeral event failed')
    }
  }

  /** @returns when another server is to be listened to, or no more @throws when the connection ends or cannot be made */
  async function listen(first: () => void): Promise<void> {
    const server = await serverOf(redis, channel)
    const connection = subscriberOf(server)
    const over = new AbortController()
    connection.on('error', (error) => log.debug({ err: error.message }, 'the connection for ephemeral events'))
    connection.once('end', () => over.abort())
    connection.on('message', (_channel, text) => told(text))
    const either = AbortSignal.any([stopper.signal, over.signal])
    try {
      await connection.connect()
      await connection.subscribe(channel)
      if (heard || failures > 0) listener.missed()
      failures = 0
      heard = true
      first()
      for (;;) {
        await pause(lookEveryMs, either)
        if (stopper.signal.aborted) return
        if (over.signal.aborted) throw new Error('The connection was closed.')
        await connection.ping()
        // After a failover the old primary may still talk to us.
        const { host, port } = await serverOf(redis, channel)
        if (host !== server.host || port !== server.port) return
      }
    } finally {
      connection.disconnect()
    }
  }

  async function listenOn(first: () => void): Promise<void> {
    while (!stopper.signal.aborted) {
      try {
        await listen(first)
      } catch (error) {
        if (failures === 0)
          log.warn({ err: error instanceof Error ? error.message : error }, 'ephemeral events are not heard now')
        first()
        await pause(backoffMs(failures++, RETRY), stopper.signal)
      }
    }
  }

  let running: Promise<void> | undefined
  await new Promise<void>((resolve) => {
    running = listenOn(resolve)
  })
  return {
    async stop() {
      stopper.abort()
      await running
    },
  }
}

const subscriberOf = ({ host, port, username, password, db = 0, tls }: ServerAddress): Connection =>
  new Connection({
    ...{ host, port, db },
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(tls && { tls }),
    protocol: 2,
    lazyConnect: true,
    connectTimeout: ANSWER_WITHIN_MS,
    commandTimeout: ANSWER_WITHIN_MS,
    maxRetriesPerRequest: 0,
    enableOfflineQueue: false,
    // It ends with its first failure, and the next one goes where the server is then.
    retryStrategy: () => null,
  })
