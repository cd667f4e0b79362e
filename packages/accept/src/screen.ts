/** What is looked at before a message is accepted: the operator's words, then the operator's hook. */
import { AppError, CUSTOM_TYPE, SENDABLE_TYPES } from '@tidings/protocol'
import type { PreSend } from './pre-send/pre-send.js'
import type { Draft } from './types.js'
import type { ReadyWords } from './words/list.js'
import type { WordMetrics } from './words/metrics.js'
import { examine, type Looked } from './words/words.js'

/** What was found out about a draft. */
export interface Screened {
  /** What may be accepted in place of what was sent. */
  readonly content: string
  /** It must not be accepted. */
  readonly refusal: AppError | undefined
  /** Words that an operator wants to know of. */
  readonly flagged: readonly string[]
}

export interface Screen {
  /** Is there anything to look at now? */
  readonly active: boolean
  /** What the words alone make of it, without a count. */
  find(looked: Looked): Screened | undefined
  /** What the words alone make of it: no hook is asked about what servers push. */
  checkWords(looked: Looked): Screened | undefined
  /** @returns undefined when it may pass as it is @throws AppError `unavailable` when the hook does not answer and that counts as a no */
  check(draft: Draft): undefined | Screened | Promise<Screened | undefined>
}

/** @param words reads the list that is in force */
export function createScreen(
  words: () => ReadyWords | undefined,
  preSend: Pick<PreSend, 'ask'> | undefined,
  metrics: Pick<WordMetrics, 'found'>,
): Screen {
  function find(looked: Looked): Screened | undefined {
    const list = words()
    const verdict = list && examine(list, looked)
    if (!verdict) return undefined
    const refusal = verdict.rejected
      ? new AppError('word_rejected', 'The message has a word that is not allowed here.')
      : undefined
    return { content: verdict.content, refusal, flagged: verdict.flagged }
  }

  function checkWords(looked: Looked): Screened | undefined {
    const found = find(looked)
    if (!found) return undefined
    if (found.refusal) metrics.found('reject')
    else {
      if (found.content !== looked.content) metrics.found('mask')
      if (found.flagged.length > 0) metrics.found('flag')
    }
    return found
  }

  async function asked(hook: Pick<PreSend, 'ask'>, draft: Draft, found: Screened | undefined) {
    const { content = draft.content, flagged = [] } = found ?? {}
    const answer = await hook.ask({ ...draft, content }, flagged)
    switch (answer.action) {
      case 'allow':
        return found
      case 'reject':
        return { content, flagged: [], refusal: new AppError('message_rejected', answer.reason || undefined) }
      case 'replace':
        return { content: answer.content, flagged, refusal: undefined }
    }
  }

  return {
    get active() {
      return preSend !== undefined || words() !== undefined
    },
    find,
    checkWords,
    check(draft) {
      const found = checkWords(draft)
      if (!preSend || found?.refusal || !isWritten(draft.type)) return found
      return asked(preSend, draft, found)
    },
  }
}

/** By a person: reactions and recalls are not what the hook is asked about. */
const isWritten = (type: string): boolean => SENDABLE_TYPES.has(type) || type === 'edit' || CUSTOM_TYPE.test(type)
