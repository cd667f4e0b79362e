/**
 * Reading in rounds, on a cluster: a command must not name the streams of two slots, so each partition has a lane with a blocking read
 * of its own. While much comes, each of them would find an entry or two. Then the lanes that want more wait for the next round, in
 * which all of them read at once: without blocking, in one write to each server. What the servers have answered is passed on together, to be
 * handled together, as soon as all have, and no later than after 20 ms. One that found nothing waits for the next round.
 */
import { groupBy } from '@tidings/service'
import { addressOf, serverAt } from './cluster.js'
import type { EntryRate } from './entry-rate.js'
import { ReadConnection } from './read-connection.js'
import type { Redis } from './redis.js'

/** So long after a round began, what has been answered waits for no other server. */
const SLOW_SERVER_MS = 20

/** One stream's part in the rounds. */
export interface RoundReader {
  /** Does so much come to the group that the next round finds something? */
  readonly busy: boolean
  /**
   * Sends a read of the stream with the next round; one at a time.
   * @param now the stream holds more already: the round is now
   * @returns the reply; null when it has left
   * @throws Error when Redis refuses, or its server is away
   */
  read(command: Uint8Array, now: boolean): Promise<unknown>
  /** It reads no more: what still waits for its round is answered with nothing. */
  leave(): void
}

export interface ReadRounds {
  /** @param key of the stream */
  of(key: string): RoundReader
  stop(): void
}

interface Waiting {
  address: () => string | undefined
  command: Uint8Array
  resolve(reply: unknown): void
  reject(error: unknown): void
  left: boolean
}

/**
 * @param rate of the group in this process
 * @param everyMs the time between two rounds
 * @param from it is busy only when so many entries a second come
 */
export function createReadRounds(deps: { redis: Redis; rate: EntryRate; everyMs: number; from: number }): ReadRounds {
  const { redis, rate, everyMs, from } = deps
  const waiting = new Set<Waiting>()
  /** By address. One that has ended, or could not be made, is not among them any more. */
  const connections = new Map<string | undefined, Promise<ReadConnection>>()
  let timer: NodeJS.Timeout | undefined
  let lastRound = 0
  let stopped = false

  function begin(): void {
    clearTimeout(timer)
    timer = undefined
    // Several that were told to begin now begin one round.
    if (waiting.size === 0) return
    lastRound = performance.now()
    const byAddress = groupBy(waiting, ({ address }) => address())
    waiting.clear()
    let passOn = (): void => undefined
    const due = new Promise<void>((resolve) => {
      passOn = resolve
    })
    const late = setTimeout(passOn, SLOW_SERVER_MS)
    void Promise.all([...byAddress].map(([address, reads]) => send(address, reads, due))).then(() => {
      clearTimeout(late)
      passOn()
    })
  }

  /** Resolves when all reads are answered or have failed. Answers are passed on when they are due, failures at once. */
  async function send(address: string | undefined, reads: readonly Waiting[], due: Promise<void>): Promise<void> {
    const answers: Promise<unknown>[] = []
    try {
      const connection = await (connections.get(address) ?? open(address))
      connection.together(() => {
        for (const { left, command, resolve, reject } of reads) {
          if (left) {
            resolve(null)
            continue
          }
          const answer = connection.send(command)
          answer.then((reply) => due.then(() => resolve(reply)), reject)
          answers.push(answer)
        }
      })
      await Promise.allSettled(answers)
    } catch (error) {
      for (const { reject } of reads) reject(error)
    }
  }

  function open(address: string | undefined): Promise<ReadConnection> {
    const forget = (): void => {
      if (connections.get(address) === opening) connections.delete(address)
    }
    const opening = ReadConnection.open(serverAt(redis, address), forget).then((connection) => {
      if (!stopped) return connection
      connection.disconnect()
      throw new Error('Reading was stopped while it connected.')
    })
    connections.set(address, opening)
    opening.catch(forget)
    return opening
  }

  return {
    of(key) {
      const address = addressOf(redis, key)
      let mine: Waiting | undefined
      let left = false
      return {
        get busy() {
          return rate.perS >= from && rate.perS * everyMs >= 1_000
        },
        read(command, now) {
          if (left) return Promise.resolve(null)
          return new Promise((resolve, reject) => {
            mine = { address, command, resolve, reject, left }
            waiting.add(mine)
            if (now) setImmediate(begin)
            else timer ??= setTimeout(begin, Math.max(0, lastRound + everyMs - performance.now()))
          })
        },
        leave() {
          left = true
          if (!mine) return
          mine.left = true
          if (waiting.delete(mine)) mine.resolve(null)
        },
      }
    },
    stop() {
      stopped = true
      clearTimeout(timer)
      for (const { resolve } of waiting) resolve(null)
      waiting.clear()
      for (const connection of connections.values()) connection.then((one) => one.disconnect()).catch(() => undefined)
    },
  }
}
