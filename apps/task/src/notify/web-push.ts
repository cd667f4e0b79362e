/** Web Push put together: who has subscriptions, what is noted of an entry, and the two senders, each with its bound. */
import { EVERYONE } from '@tidings/protocol'
import { gauge, type Lifecycle, type MetricsRegistry, type StageMetrics } from '@tidings/service'
import { countPasses, countPushes, type DuePush, forgetPasses, type WideEntry } from '@tidings/store'
import type { Delivery } from '@tidings/stream'
import { createDuePushes } from './due-pushes.js'
import type { NotifyConfig } from './notify.js'
import { startPushPasses } from './push-passes.js'
import type { PushDeps } from './push-post.js'
import { startPushSender } from './push-sender.js'
import { watchSubscribers } from './subscribers.js'

/** Devices that may wait for a push; beyond, no further ones are noted. */
const MOST_PUSHES = 200_000
/** Large rooms in which something waits to be pushed; beyond, nothing is noted of further entries of rooms. */
const MOST_PASSES = 1_000
const COUNT_EVERY_MS = 5_000
/** By then no entry of an idle room comes a second time. */
const FORGET_MS = 24 * 60 * 60_000
/** Of the senders: requests that run may end, and what came of them is written down. */
const STOP_MS = 3_000

export interface WebPush {
  /**
   * What entries are due to, in the order of the entries; what there is no room for is left out, and counted.
   * @throws AppError `unavailable`
   */
  of(batch: readonly Delivery[]): Promise<{ devices: DuePush[]; wide: WideEntry[] }>
}

export interface WebPushDeps extends Omit<PushDeps, 'afterMs' | 'metrics'> {
  config: Pick<NotifyConfig, 'webPushAfterMs' | 'webPushContent'>
  life: Lifecycle
  metrics: MetricsRegistry
  stage: StageMetrics
}

export async function startWebPush(deps: WebPushDeps): Promise<WebPush> {
  const { store, redis, keys, config, log, life, metrics, stage } = deps
  const subscribers = await watchSubscribers({ store, log })
  life.add('push subscribers', () => subscribers.stop())
  const { webPushAfterMs: afterMs, webPushContent: withText } = config
  const due = createDuePushes({ store, redis, keys, subscribers, withText })
  let waiting = 0
  let passes = 0

  async function count(): Promise<void> {
    await forgetPasses(store, Date.now() - FORGET_MS)
    waiting = await countPushes(store)
    passes = await countPasses(store)
  }
  // Away is said by the store itself; until it is back the last count holds.
  const timer = setInterval(() => void count().catch(() => undefined), COUNT_EVERY_MS)
  life.add('push count', () => clearInterval(timer))
  gauge(metrics, 'tidings_web_pushes_due', 'Devices that wait for a push, by the last count.', () => waiting)
  gauge(
    metrics,
    'tidings_web_push_passes',
    'Large rooms, and everyone, whom a push is due to or under way, by the last count.',
    () => passes,
  )

  /** May so many more devices wait? They count from then on. */
  function admit(devices: number): boolean {
    if (waiting + devices > MOST_PUSHES) return false
    waiting += devices
    return true
  }

  const sending = { ...deps, afterMs, metrics: stage }
  const sender = startPushSender(sending)
  life.add('push sender', () => sender.stop(), STOP_MS)
  const passing = startPushPasses({ ...sending, withText, subscribers, admit })
  life.add('push passes', () => passing.stop(), STOP_MS)

  return {
    async of(batch) {
      const each = await Promise.all(batch.map((one) => due.of(one)))
      const devices: DuePush[] = []
      const wide: WideEntry[] = []
      for (const one of each) {
        if (one.devices.length > 0 && admit(one.devices.length)) devices.push(...one.devices)
        else if (one.devices.length > 0) stage.failed('dropped', one.devices.length)
        if (!one.wide) continue
        if (passes < MOST_PASSES || one.wide.conversation === EVERYONE) wide.push(one.wide)
        else stage.failed('dropped')
      }
      return { devices, wide }
    },
  }
}
