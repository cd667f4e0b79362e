/**
 * Keeps the index of words behind what is stored, at its own pace: it reads new rows by the order of ids, a second after a second. An
 * entry may be stored after one with a higher id, so it looks back now and then, further after MySQL was away, and at each conversation
 * when it begins and every few hours. What it has not come to yet is told by every search (`complete`).
 */

import { AppError, firstIdAt } from '@tidings/protocol'
import { type Logger, pause, type Stoppable } from '@tidings/service'
import {
  conversationsBehind,
  indexConversation,
  indexPlaces,
  type Job,
  jobPosition,
  type Place,
  placesAfter,
  type Store,
  saveJobPosition,
  searchedUpTo,
} from '@tidings/store'
import { LRUCache } from 'lru-cache'
import { startJob } from './job.js'

const EVERY_MS = 1_000
/** Ids in one look, entries in one transaction. */
const LOOK = 1_000
const AT_ONCE = 200
/** Every so often it looks back so far; that far it may be behind an entry that was stored late. */
const LOOK_BACK_EVERY_MS = 10_000
const LOOK_BACK_MS = 30_000
/** After a failure, and when another worker had the job. */
const LOOK_FAR_BACK_MS = 15 * 60_000
/** What storing has left is looked at over so long; a tenth is always left. */
const PACED_OVER_MS = 500
const LEAST_SHARE = 10
/** Every conversation is compared: when it begins, and so often. */
const COMPARE_EVERY_MS = 6 * 60 * 60_000
const COMPARED_AT_ONCE = 500
const REMEMBERED = 50_000

export interface SearchIndexDeps {
  store: Store
  owner: string
  /** Entries a second, at most; it takes half of the time at most, too. Less while this process stores many. */
  perS: number
  /** Entries that this process has stored so far. */
  stored(): number
  /** Entries that were read for the index. */
  indexed(entries: number): void
  log: Logger
}

export function startSearchIndex(deps: SearchIndexDeps): Stoppable {
  const { store, owner, log } = deps
  const indexer = createIndexer(deps)
  return startJob({ store, name: 'search', owner, everyMs: EVERY_MS, log, run: indexer.run })
}

/** @returns `run`, one turn: until it has come to the newest row. False when the job is another's */
export function createIndexer({ store, perS, stored, indexed, log }: SearchIndexDeps) {
  const pace = createPace(perS, stored)
  /** Up to where the index of a conversation reaches, as this owner has seen it. */
  const heads = new LRUCache<string, number>({ max: REMEMBERED })
  let fence = -1
  let next = '0'
  let lookedBackAt = Number.NEGATIVE_INFINITY
  let comparedAt = Number.NEGATIVE_INFINITY
  let failed = false

  async function begin(job: Job): Promise<void> {
    heads.clear()
    next = earlier(await jobPosition(store, job), LOOK_FAR_BACK_MS)
    fence = job.fence
    comparedAt = Number.NEGATIVE_INFINITY
  }

  function lookBack(): void {
    const now = performance.now()
    if (now - lookedBackAt < LOOK_BACK_EVERY_MS && !failed) return
    next = earlier(next, failed ? LOOK_FAR_BACK_MS : LOOK_BACK_MS)
    lookedBackAt = now
    failed = false
  }

  /** As long as the work took, and longer where that was too fast. */
  async function rest(began: number, entries: number, signal: AbortSignal): Promise<void> {
    const took = performance.now() - began
    await pause(Math.max(took, (entries * 1_000) / pace() - took), signal)
  }

  /** Those of the places that the index does not reach to. */
  async function unknownOf(places: readonly Place[]): Promise<Place[]> {
    const asked = [...new Set(places.map(({ conversation }) => conversation))].filter((one) => !heads.has(one))
    const known = await searchedUpTo(store, asked)
    for (const conversation of asked) heads.set(conversation, known.get(conversation) ?? 0)
    return places.filter(({ conversation, seq }) => seq > (heads.get(conversation) ?? 0))
  }

  async function indexAll(job: Job, places: readonly Place[], signal: AbortSignal): Promise<boolean> {
    const gaps = new Set<string>()
    for (let at = 0; at < places.length && !signal.aborted; at += AT_ONCE) {
      const began = performance.now()
      const done = await indexPlaces(store, job, places.slice(at, at + AT_ONCE))
      if (!done) return false
      for (const [conversation, seq] of done.heads) heads.set(conversation, seq)
      for (const conversation of done.gaps) gaps.add(conversation)
      indexed(done.rows)
      await rest(began, done.rows, signal)
    }
    for (const conversation of gaps) if (!(await goThrough(job, conversation, signal))) return false
    return true
  }

  async function goThrough(job: Job, conversation: string, signal: AbortSignal): Promise<boolean> {
    for (let more = true; more && !signal.aborted; ) {
      const began = performance.now()
      const done = await indexConversation(store, job, conversation, AT_ONCE)
      if (!done) return false
      for (const [one, seq] of done.heads) heads.set(one, seq)
      indexed(done.rows)
      more = done.rows === AT_ONCE
      await rest(began, done.rows, signal)
    }
    return true
  }

  async function compareAll(job: Job, signal: AbortSignal): Promise<boolean> {
    for (let after: string | undefined = ''; after !== undefined && !signal.aborted; ) {
      const began = performance.now()
      const { behind, last }: { behind: string[]; last: string | undefined } = await conversationsBehind(
        store,
        after,
        COMPARED_AT_ONCE,
      )
      for (const conversation of behind) if (!(await goThrough(job, conversation, signal))) return false
      after = last
      await rest(began, 0, signal)
    }
    if (!signal.aborted) comparedAt = performance.now()
    return true
  }

  async function follow(job: Job, signal: AbortSignal): Promise<boolean> {
    for (let more = true; more && !signal.aborted; ) {
      const places = await placesAfter(store, next, LOOK)
      if (!(await indexAll(job, await unknownOf(places), signal))) return false
      if (signal.aborted) return true
      more = places.length === LOOK
      next = places.at(-1)?.id ?? next
      if (places.length > 0) await saveJobPosition(store, job, next)
    }
    return true
  }

  return {
    async run(job: Job, signal: AbortSignal): Promise<boolean> {
      try {
        if (job.fence !== fence) await begin(job)
        lookBack()
        if (!(await follow(job, signal))) return false
        if (performance.now() - comparedAt < COMPARE_EVERY_MS) return true
        return await compareAll(job, signal)
      } catch (error) {
        failed = true
        if (!(error instanceof AppError)) log.error({ err: error }, 'the index of words cannot go on')
        throw error
      }
    },
  }
}

/**
 * What storing leaves: an entry costs the index more than storing it did, so where many are stored nearly all of it waits for a quieter
 * time. Two for each that is stored, so that what is left still keeps up with up to a third of `perS`.
 * @returns asks for entries a second
 */
export function createPace(perS: number, stored: () => number): () => number {
  const least = perS / LEAST_SHARE
  let { at, before } = { at: performance.now(), before: stored() }
  let allowed = perS
  return () => {
    const elapsed = performance.now() - at
    if (elapsed < PACED_OVER_MS) return allowed
    const storedPerS = ((stored() - before) * 1_000) / elapsed
    at += elapsed
    before = stored()
    allowed = Math.max(least, perS - 2 * storedPerS)
    return allowed
  }
}

const MS_BITS = 22n

/** An id of so much earlier. */
function earlier(id: string, ms: number): string {
  const least = BigInt(firstIdAt(0))
  const back = BigInt(id) - (BigInt(ms) << MS_BITS)
  return String(back > least ? back : least)
}
