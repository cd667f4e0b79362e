/** What a pass tells of now: looked up before each page, so that whoever is not told yet is told nothing that was taken back. */
import { type Entry, isExpired, parseOptions } from '@tidings/protocol'
import { maxSeq, messagesSentBy, type Pass, type Store } from '@tidings/store'
import { foldStored, type Keys, type Redis } from '@tidings/stream'
import { TTL_S } from './push-request.js'
import { isForPeople, previewOf } from './pushable.js'

/** Entries in which one is looked for that counts, where the newest were taken back or have expired. */
const LOOK_BACK = 100
/** Of an entry that persist has not stored yet. */
const WAIT_MS = 1_000

export interface Target {
  seq: number
  id: string
  from: string
  sentAt: number
  preview: string
  expiresAt: number | null
  urgent: boolean
}

/** `later`: nothing that counts is old enough yet. */
export type PassTarget = { target: Target } | { later: Date } | 'nothing'

export interface PassTargets {
  /** @throws AppError `unavailable` */
  of(pass: Pass): Promise<PassTarget>
}

/** @param afterMs how long devices have to acknowledge @param withText whether the beginning of a text may be shown */
export function createPassTargets(deps: {
  store: Store
  redis: Redis
  keys: Keys
  afterMs: number
  withText: boolean
}): PassTargets {
  const { store, redis, keys, afterMs, withText } = deps

  /** The newest that every device has had its time for: in a room where people write all the time, the newest of all is always too young. */
  async function targetOf({ conversation, firstSeq, seq, passSeq }: Pass, now: number): Promise<Target | undefined> {
    const to = passSeq || seq
    const range = { from: firstSeq, to, sentBy: now - afterMs, limit: LOOK_BACK }
    const entries = await foldStored(redis, keys, await messagesSentBy(store, conversation, range))
    // What has taken a collapsed one's place has its own time to come; but where each is replaced before its time, people would hear of none.
    const entry = entries.find((one) => (isForPeople(one) || one.type === 'collapsed') && !isExpired(one, now))
    return entry && toTarget(entry)
  }

  /** Is there nothing in the range that persist has yet to store? What it has not done for a day, it is not waited for. */
  async function isAllStored({ conversation, seq, newestAt }: Pass, now: number): Promise<boolean> {
    return now > newestAt + TTL_S * 1_000 || (await maxSeq(store, conversation)) >= seq
  }

  function toTarget(entry: Entry): Target {
    const { seq, id, from, sentAt, options } = entry
    const { expiresAt = null, priority } = (options && parseOptions(options)) || {}
    const preview = withText && entry.type !== 'collapsed' ? previewOf(entry) : ''
    return { seq, id, from, sentAt, preview, expiresAt, urgent: priority === 'high' }
  }

  return {
    async of(pass) {
      const now = Date.now()
      const dueAt = pass.newestAt + afterMs
      // Of a pass that runs, all is stored, and what was taken back meanwhile ends it. Else asked before the entries are read: what is
      // stored in between is found; the other way round it would be taken for nothing, and nobody would be told.
      const mayEnd = pass.passSeq > 0 || (dueAt <= now && (await isAllStored(pass, now)))
      const target = await targetOf(pass, now)
      if (target) return { target }
      return mayEnd ? 'nothing' : { later: new Date(Math.max(dueAt, now + WAIT_MS)) }
    },
  }
}
