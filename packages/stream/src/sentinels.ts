/** Behind Sentinel: leaving a primary that the sentinels have replaced. It may hang, or go on answering as if nothing had happened. */
import type { RedisUrl } from '@tidings/service'
import { Redis as Connection, type RedisOptions } from 'ioredis'

const ASK_EVERY_MS = 1_000

export interface SentinelWatch {
  /** To be told which primary the connection was led to, as `host:port`. */
  connectedTo(address: string): void
  stop(): void
}

/**
 * Asks all sentinels every second who the primary is. One that is late may have led a connection to the old one, and says so no
 * more: what counts is the majority.
 * @param options for the connections to the sentinels
 * @param leave told when the majority names another primary than the one connected to
 */
export function watchSentinels(target: RedisUrl, options: RedisOptions, leave: () => void): SentinelWatch {
  const sentinels = target.addresses.map((address) => new Connection({ ...options, ...address }))
  // A sentinel that is away is one that does not vote.
  for (const sentinel of sentinels) sentinel.on('error', () => undefined)
  let current: string | undefined
  let asking = false

  async function ask(): Promise<void> {
    const answers = await Promise.allSettled(
      sentinels.map((sentinel) => sentinel.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', target.primary)),
    )
    const others = answers.filter(({ status, value }: { status: string; value?: unknown }) => {
      if (status === 'rejected' || !Array.isArray(value) || current === undefined) return false
      return `${value[0]}:${value[1]}` !== current
    })
    if (others.length > sentinels.length / 2) leave()
  }

  const timer = setInterval(() => {
    if (asking) return
    asking = true
    void ask().finally(() => {
      asking = false
    })
  }, ASK_EVERY_MS)

  return {
    connectedTo(address) {
      current = address
    },
    stop() {
      clearInterval(timer)
      for (const sentinel of sentinels) sentinel.disconnect()
    },
  }
}
