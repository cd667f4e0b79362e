/**
 * The hook that an operator's own server answers before a message is accepted. It never holds a message for longer than its deadline:
 * where it fails, is slow, answers nonsense or has too much to do, the set answer is given instead.
 */
import { AppError, checkReply, MAX_CONTENT_DEPTH, rawMembers, SENDABLE_TYPES } from '@tidings/protocol'
import { jitterSeconds, type Logger } from '@tidings/service'
import type { Draft } from '../types.js'
import { type HookAnswer, parseAnswer } from './answer.js'
import { createBreaker } from './breaker.js'
import type { PreSendMetrics } from './metrics.js'
import { createPoster } from './post.js'

/** Calls of this process to the hook. */
const AT_ONCE = 64
/** Messages that wait for their call. */
const MAX_QUEUED = 1_024
const FAILURES_IN_A_ROW = 5
const PAUSE_MS = 2_000

export interface PreSendConfig {
  url: string
  secret: string
  deadlineMs: number
  /** The answer where the hook gives none. */
  onFailure: 'allow' | 'reject'
}

type Asked = Pick<Draft, 'conversation' | 'from' | 'type' | 'content' | 'clientId'>

export interface PreSend {
  /**
   * @param flagged words of the list that were found
   * @throws AppError `unavailable` when the hook fails and the set answer is to reject
   */
  ask(draft: Asked, flagged: readonly string[]): Promise<HookAnswer>
  stop(): void
}

/** Why the hook's own answer is not there. */
type Failure = 'failed' | 'full' | 'open'

export function createPreSend(config: PreSendConfig, metrics: PreSendMetrics, log: Logger): PreSend {
  const poster = createPoster(config.url, config.secret, AT_ONCE)
  const breaker = createBreaker(FAILURES_IN_A_ROW, PAUSE_MS, (isOpen) => {
    if (isOpen)
      log.warn({ answer: config.onFailure }, 'the pre-send hook fails; the set answer is given without asking it')
    else log.info('the pre-send hook answers again')
  })
  let active = 0
  const queue: (() => void)[] = []

  /** Resolves when the call may be made, or when its time is over. */
  function turn(signal: AbortSignal): undefined | Promise<void> {
    if (active < AT_ONCE) {
      active++
      return undefined
    }
    return new Promise((resolve) => {
      const next = (): void => {
        signal.removeEventListener('abort', gone)
        active++
        resolve()
      }
      function gone(): void {
        queue.splice(queue.indexOf(next), 1)
        // Who gives up frees what it never took.
        active++
        resolve()
      }
      signal.addEventListener('abort', gone, { once: true })
      queue.push(next)
    })
  }

  function leave(): void {
    active--
    if (active < AT_ONCE) queue.shift()?.()
  }

  async function call(body: string, type: string): Promise<HookAnswer | Failure> {
    if (active >= AT_ONCE && queue.length >= MAX_QUEUED) return 'full'
    const signal = AbortSignal.timeout(config.deadlineMs)
    await turn(signal)
    try {
      // Not the hook's fault alone: more was sent than it can be asked in this time.
      if (signal.aborted) return 'full'
      // Asked when it is this one's turn: those before it may have found the hook to be dead.
      if (!breaker.admit()) return 'open'
      const answer = parseAnswer(await poster.post(body, signal))
      if (answer.action === 'replace' && mayReply(type)) checkReply(answer.content)
      breaker.succeeded()
      return answer
    } catch (error) {
      breaker.failed()
      log.debug({ reason: (error as Error).message }, 'the pre-send hook failed')
      return 'failed'
    } finally {
      leave()
    }
  }

  return {
    async ask(draft, flagged) {
      const began = performance.now()
      const edited = draft.type === 'edit' ? editedIn(draft.content) : undefined
      const answer = await call(bodyOf(draft, edited, flagged), draft.type)
      if (typeof answer === 'string') {
        metrics.asked(answer, performance.now() - began)
        if (config.onFailure === 'allow') return { action: 'allow' }
        throw new AppError('unavailable', 'Messages cannot be checked before they are sent now. Try again shortly.', {
          retryAfter: jitterSeconds(1, 5),
        })
      }
      metrics.asked(answer.action, performance.now() - began)
      if (answer.action !== 'replace' || !edited) return answer
      return { action: 'replace', content: `${edited.head}${answer.content}}` }
    },
    stop: () => poster.stop(),
  }
}

/** An application's own types may mean something else by `replyTo`. */
const mayReply = (type: string): boolean => SENDABLE_TYPES.has(type) || type === 'edit'

/** The new content in the content of an edit, which is its last member, and what stands before it. */
function editedIn(content: string): { head: string; content: string; target: unknown } | undefined {
  const members = rawMembers(content, MAX_CONTENT_DEPTH + 1)
  const inner = members.get('content')
  if (inner === undefined) return undefined
  const head = content.slice(0, content.length - inner.length - 1)
  return { head, content: inner, target: JSON.parse(members.get('target') ?? 'null') }
}

function bodyOf(draft: Asked, edited: ReturnType<typeof editedIn>, flagged: readonly string[]): string {
  const { conversation, from, type, clientId } = draft
  const target = edited ? { edits: edited.target } : {}
  const head = JSON.stringify({ conversation, from, type, ...target, clientId, flagged })
  return `${head.slice(0, -1)},"content":${edited?.content ?? draft.content}}`
}
