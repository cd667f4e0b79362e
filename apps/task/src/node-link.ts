/** The one stream of pushes from this worker to one connect node: bounded, and never a reason for others to wait. */
import { connectRpc, nodeRpc, type PushEntry, packPushes } from '@tidings/protocol'
import { backoffMs, type Logger, pause } from '@tidings/service'

/** Batches that may be unconfirmed at once. */
const MAX_OUT = 8
/** A node that confirms nothing for this long is slow: its share is given up until it answers. */
const CONFIRM_MS = 500
const RECONNECT = { firstMs: 50, maxMs: 1_000 }

export interface PushOutcome {
  /** `owed`: the payload was dropped, and the node will be told to compare its sessions with the heads. */
  state: 'confirmed' | 'owed'
  /** Partitions whose entries the node refused, with the fence of the newer owner that it has heard from. */
  fenced: readonly nodeRpc.Fenced[]
}

const OWED: PushOutcome = { state: 'owed', fenced: [] }

export interface NodeLink {
  /** Never rejects and never takes longer than the node may. */
  push(entries: readonly PushEntry<string>[]): Promise<PushOutcome>
  /** The node is to compare its sessions with the heads, for it will not be pushed something that it should show. */
  owe(): void
  /** Is a re-check owed to this node? */
  readonly owed: boolean
  stop(): void
}

interface Out {
  resolve(outcome: PushOutcome): void
  timer: NodeJS.Timeout
}

/** @param node its name, for the log */
export function openNodeLink(node: string, address: string, rpcToken: string, log: Logger): NodeLink {
  const rpc = connectRpc(nodeRpc.NodeDefinition, address, rpcToken)
  const out = new Map<number, Out>()
  const stopper = new AbortController()
  let queue: nodeRpc.PushRequest[] = []
  let wake: (() => void) | undefined
  let number = 0
  /** The node is up and confirms in time. */
  let healthy = true
  /** Something was dropped, or may have been before this link was there. */
  let owed = true
  /** Number of the frame whose confirmation means that the re-check was told, with nothing dropped since it was queued. */
  let recheck = 0
  let broken: AbortController | undefined

  function enqueue(entries: readonly PushEntry<string>[], recheck: boolean): number {
    queue.push({ number: ++number, recheck, ...packPushes(entries) })
    wake?.()
    return number
  }

  async function* requests(signal: AbortSignal): AsyncGenerator<nodeRpc.PushRequest> {
    signal.addEventListener('abort', () => wake?.(), { once: true })
    while (!signal.aborted) {
      const batch = queue
      queue = []
      yield* batch
      if (queue.length > 0) continue
      await new Promise<void>((resolve) => {
        wake = resolve
      })
      wake = undefined
    }
  }

  /** Everything that is out or queued is given up. */
  function giveUp(): void {
    queue = []
    for (const one of out.values()) {
      clearTimeout(one.timer)
      one.resolve(OWED)
    }
    if (out.size > 0) owe()
    out.clear()
  }

  /** A payload was dropped, or is not given: the next re-check counts, and none that is under way. */
  function owe(): void {
    owed = true
    const last = queue.at(-1)
    // One that still waits to be sent says it for this drop too.
    if (healthy && last?.recheck) recheck = last.number
    else recheck = healthy ? enqueue([], true) : 0
  }

  function tooSlow(): void {
    if (!healthy) return
    healthy = false
    log.warn({ node }, 'a node does not confirm; its share is owed until it does')
    giveUp()
    broken?.abort()
  }

  async function run(): Promise<void> {
    for (let failures = 0; !stopper.signal.aborted; ) {
      broken = new AbortController()
      const signal = AbortSignal.any([broken.signal, stopper.signal])
      // The first words on a new stream: a node that owes nobody anything still confirms, and that shows that it is well.
      let first = enqueue([], true)
      recheck = first
      try {
        for await (const confirmation of rpc.client.push(requests(signal), { signal })) {
          failures = 0
          if (confirmation.number === first) {
            first = 0
            if (!healthy) log.info({ node }, 'a node confirms again')
            healthy = true
            // Dropped while it connected: said after, not before.
            if (owed && recheck === 0) recheck = enqueue([], true)
          }
          if (confirmation.number === recheck) owed = false
          const one = out.get(confirmation.number)
          if (!one) continue
          out.delete(confirmation.number)
          clearTimeout(one.timer)
          one.resolve({ state: 'confirmed', fenced: confirmation.fenced })
        }
      } catch (error) {
        log.debug({ node, err: error instanceof Error ? error.message : error }, 'the stream to a node ended')
      }
      healthy = false
      giveUp()
      if (!stopper.signal.aborted) await pause(backoffMs(failures++, RECONNECT), stopper.signal)
    }
  }

  void run()
  return {
    push(entries) {
      if (stopper.signal.aborted || !healthy || out.size >= MAX_OUT) {
        owe()
        return Promise.resolve(OWED)
      }
      return new Promise((resolve) => {
        out.set(enqueue(entries, false), { resolve, timer: setTimeout(tooSlow, CONFIRM_MS) })
      })
    },
    owe,
    get owed() {
      return owed
    },
    stop() {
      stopper.abort()
      giveUp()
      rpc.close()
    },
  }
}
