/** A connection for blocking reads. It ends with its first failure and the next read has a new one, wherever the streams lie by then. */
import type { Logger } from '@tidings/service'
import { onServerOf, readsApart, serverOf } from './cluster.js'
import { ReadConnection } from './read-connection.js'
import { onReconnect, type Redis } from './redis.js'

export interface Reader {
  /** Runs one blocking read; one at a time. What it throws has cost the connection. */
  read<T>(call: (connection: ReadConnection) => Promise<T>): Promise<T>
  /** Ends the read that waits now, with nothing. */
  unblock(): void
  stop(): void
}

/**
 * @param redis asked where the key lies
 * @param key a stream that is read: on a cluster all that are read lie in its slot
 */
export function createReader(deps: { redis: Redis; key: string; log: Logger }): Reader {
  const { redis, key, log } = deps
  let current: { connection: ReadConnection; id: number } | undefined
  let stopped = false
  let drops = 0

  async function open(): Promise<NonNullable<typeof current>> {
    if (stopped) throw new Error('The reader was stopped.')
    const before = drops
    const connection = await ReadConnection.open(await serverOf(redis, key))
    try {
      const id = Number(await connection.call('CLIENT', 'ID'))
      if (drops !== before) throw new Error('The reader was stopped, or the server replaced, while it connected.')
      return { connection, id }
    } catch (error) {
      connection.disconnect()
      throw error
    }
  }

  /** Also of one that is just being opened. */
  function drop(): void {
    drops++
    current?.connection.disconnect()
    current = undefined
  }

  // Behind Sentinel the old primary may go on answering: the reader goes where commands go. On a cluster MOVED tells.
  const ended = readsApart(redis) ? undefined : onReconnect(redis, drop)

  return {
    async read(call) {
      current ??= await open()
      const mine = current
      try {
        return await call(mine.connection)
      } catch (error) {
        if (current === mine) drop()
        throw error
      }
    },
    unblock() {
      if (!current || redis.status !== 'ready') return
      const { id } = current
      onServerOf(redis, key, (connection) => connection.client('UNBLOCK', id)).catch((error: unknown) =>
        log.debug({ err: error }, 'unblock'),
      )
    },
    stop() {
      stopped = true
      ended?.()
      drop()
    },
  }
}
