/** A TCP proxy that harms what passes it: between clients and apps, apps and stores, workers and nodes. */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/** Bytes held back per direction before the source is told to wait. */
const MAX_HELD = 1024 * 1024
const TICK_MS = 20

export interface ProxyCounters {
  connections: number
  /** Bytes that were passed on. */
  passed: number
  /** Bytes that were held back at some time. */
  held: number
  /** Bytes that waited because of the rate. */
  slowed: number
  /** Bytes that never arrived. */
  dropped: number
  /** Connections that were cut by us. */
  cut: number
  /** Connections that were turned away. */
  refused: number
}

interface Harm {
  /** Nothing passes, nothing is said: the link is half-open until it is healed. */
  stalled: boolean
  /** New connections are turned away. */
  refusing: boolean
  delayMs: number
  jitterMs: number
  /** Bytes a second and direction; 0 is no limit. */
  rate: number
  /** A request that holds one of these words passes, and the connection is cut before its reply does. */
  cutReplyTo: string[]
  /** How many replies are still to be cut. */
  cutReplies: number
}

const HEALTHY: Harm = {
  stalled: false,
  refusing: false,
  delayMs: 0,
  jitterMs: 0,
  rate: 0,
  cutReplyTo: [],
  cutReplies: 0,
}

export interface LinkProxy {
  readonly port: number
  readonly counters: ProxyCounters
  /** From now on, on top of what is so already. */
  harm(over: Partial<Harm>): void
  /** Ends all connections now. @returns how many there were */
  cut(): number
  /** All harm ends; what was held back passes. */
  heal(): void
  close(): Promise<void>
}

interface Pair {
  client: Socket
  server: Socket
  /** The reply to what was sent last must not arrive. */
  doomed: boolean
  directions: Direction[]
}

/** One way through a connection: chunks wait here for their time. */
interface Direction {
  from: Socket
  to: Socket
  queue: { chunk: Buffer; due: number }[]
  bytes: number
  ended: boolean
  timer: NodeJS.Timeout | undefined
  /** When the rate allows the next chunk. */
  freeAt: number
}

/** @param target port on this machine that is passed on to */
export async function startProxy(target: number): Promise<LinkProxy> {
  let harm: Harm = { ...HEALTHY }
  const counters: ProxyCounters = { connections: 0, passed: 0, held: 0, slowed: 0, dropped: 0, cut: 0, refused: 0 }
  const pairs = new Set<Pair>()

  const server = createServer({ allowHalfOpen: true }, (client) => {
    client.on('error', () => undefined)
    if (harm.refusing) {
      counters.refused++
      client.resetAndDestroy()
      return
    }
    counters.connections++
    const upstream = connect({ port: target, host: '127.0.0.1', allowHalfOpen: true, noDelay: true })
    client.setNoDelay(true)
    const pair: Pair = { client, server: upstream, doomed: false, directions: [] }
    pairs.add(pair)
    pair.directions = [
      direct(pair, client, upstream, (chunk) => {
        if (harm.cutReplies > 0 && harm.cutReplyTo.some((word) => chunk.includes(word))) pair.doomed = true
        return false
      }),
      direct(pair, upstream, client, (chunk) => {
        if (!pair.doomed || harm.cutReplies === 0) return false
        harm.cutReplies--
        counters.dropped += chunk.length
        end(pair)
        return true
      }),
    ]
  })

  /** @param swallow looks at a chunk and may keep it */
  function direct(pair: Pair, from: Socket, to: Socket, swallow: (chunk: Buffer) => boolean): Direction {
    const way: Direction = { from, to, queue: [], bytes: 0, ended: false, timer: undefined, freeAt: 0 }
    from.on('data', (chunk: Buffer) => {
      if (swallow(chunk)) return
      const wait = harm.delayMs + Math.random() * harm.jitterMs
      const due = Math.max(performance.now() + wait, way.queue.at(-1)?.due ?? 0)
      way.queue.push({ chunk, due })
      way.bytes += chunk.length
      if (harm.stalled || wait > 0) counters.held += chunk.length
      if (way.bytes > MAX_HELD) from.pause()
      drain(way)
    })
    from.on('end', () => {
      way.ended = true
      drain(way)
    })
    to.on('drain', () => from.resume())
    from.on('error', () => undefined)
    // A stalled link tells nobody that the other side has gone.
    from.on('close', () => {
      way.ended = true
      if (!harm.stalled) drain(way)
      if (!harm.stalled && from.errored) end(pair, false)
      if (pair.client.destroyed && pair.server.destroyed) pairs.delete(pair)
    })
    return way
  }

  function drain(way: Direction): void {
    if (way.timer || harm.stalled) return
    const now = performance.now()
    for (let first = way.queue[0]; first; first = way.queue[0]) {
      const due = Math.max(first.due, way.freeAt)
      if (due > now) {
        way.timer = setTimeout(
          () => {
            way.timer = undefined
            drain(way)
          },
          Math.max(due - now, 1),
        )
        return
      }
      if (way.freeAt > first.due) counters.slowed += first.chunk.length
      way.queue.shift()
      way.bytes -= first.chunk.length
      if (harm.rate > 0) way.freeAt = Math.max(now, way.freeAt) + (first.chunk.length / harm.rate) * 1_000
      if (way.to.destroyed) counters.dropped += first.chunk.length
      else {
        counters.passed += first.chunk.length
        if (!way.to.write(first.chunk)) way.from.pause()
      }
    }
    if (way.ended) way.to.end()
    else if (way.bytes < MAX_HELD && way.to.writableLength === 0) way.from.resume()
  }

  function end(pair: Pair, byUs = true): void {
    if (byUs) counters.cut++
    for (const way of pair.directions) {
      clearTimeout(way.timer)
      counters.dropped += way.bytes
    }
    for (const socket of [pair.client, pair.server]) {
      // A reset of what is not open yet waits for ever.
      if (byUs && !socket.connecting) socket.resetAndDestroy()
      else socket.destroy()
    }
    pairs.delete(pair)
  }

  // What a socket that was paused without a drain event holds is looked after here.
  const ticker = setInterval(() => {
    for (const { directions } of pairs) for (const way of directions) if (way.queue.length > 0) drain(way)
  }, TICK_MS)

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    counters,
    harm(over) {
      harm = { ...harm, ...over }
    },
    cut() {
      const count = pairs.size
      for (const pair of [...pairs]) end(pair)
      return count
    },
    heal() {
      const wasStalled = harm.stalled
      harm = { ...HEALTHY }
      for (const pair of [...pairs]) {
        for (const way of pair.directions) drain(way)
        if (wasStalled && (pair.client.destroyed || pair.server.destroyed)) end(pair, false)
      }
    },
    async close() {
      clearInterval(ticker)
      for (const pair of [...pairs]) end(pair, false)
      await new Promise<void>((resolve) => server.close(() => resolve()))
    },
  }
}
