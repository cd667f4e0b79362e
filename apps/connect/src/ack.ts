/**
 * Stage 6 of 6, ack: a device says "have everything up to seq". From the session; to logic, which moves the cursor forward and never
 * back. Acks are gathered for a moment and sent together. On failure they are kept and sent again; an ack that is lost with this
 * process only means that the device is shown the same entries again.
 */
import type { LogicClient } from '@tidings/accept'
import { AppError, type logicRpc } from '@tidings/protocol'
import { type Logger, withBound } from '@tidings/service'

const GATHER_MS = 100
const MAX_WAITING = 100_000
const PER_CALL = 1_000
const FLUSH_BOUND_MS = 1_000

export interface Acks {
  /** @throws AppError `overloaded` when too many wait */
  add(user: string, device: string, conversation: string, seq: number): void
  /** Sends what waits now. Resolves when it is written, or after a bounded wait: then it is tried again later. */
  flush(): Promise<void>
  readonly waiting: number
  stop(): Promise<void>
}

export function createAcks(logic: Pick<LogicClient, 'ack'>, log: Logger): Acks {
  let waiting = new Map<string, logicRpc.Ack>()
  let sending: Promise<void> | undefined
  let timer: NodeJS.Timeout | undefined
  let stopped = false

  function merge(ack: logicRpc.Ack): void {
    const key = `${ack.user} ${ack.device} ${ack.conversation}`
    const before = waiting.get(key)
    if (!before || before.seq < ack.seq) waiting.set(key, ack)
  }

  function schedule(ms: number): void {
    if (timer || stopped) return
    timer = setTimeout(() => {
      timer = undefined
      void send()
    }, ms)
  }

  function send(): Promise<void> {
    sending ??= sendAll().finally(() => {
      sending = undefined
    })
    return sending
  }

  async function sendAll(): Promise<void> {
    while (waiting.size > 0) {
      const all = [...waiting.values()]
      waiting = new Map()
      for (let i = 0; i < all.length; i += PER_CALL) {
        try {
          await logic.ack({ acks: all.slice(i, i + PER_CALL) })
        } catch (error) {
          log.warn({ err: error instanceof Error ? error.message : error, acks: all.length - i }, 'acks wait')
          for (const ack of all.slice(i)) merge(ack)
          schedule(1_000)
          return
        }
      }
    }
  }

  async function flush(): Promise<void> {
    try {
      await withBound(send(), FLUSH_BOUND_MS)
    } catch (error) {
      log.warn({ err: error instanceof Error ? error.message : error }, 'acks were not flushed in time')
    }
  }

  return {
    add(user, device, conversation, seq) {
      if (waiting.size >= MAX_WAITING)
        throw new AppError('overloaded', 'Too many acknowledgements wait.', { retryAfter: 1 })
      merge({ user, device, conversation, seq })
      schedule(GATHER_MS)
    },
    flush,
    get waiting() {
      return waiting.size
    },
    async stop() {
      stopped = true
      clearTimeout(timer)
      await flush()
    },
  }
}
