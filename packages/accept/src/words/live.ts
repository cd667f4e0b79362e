/** The list that is in force, as etcd has it: a new one takes the place of the old one at once, and one that is wrong does not. */
import { followConfig, type Registry } from '@tidings/registry'
import type { Logger, Stoppable } from '@tidings/service'
import { parseWords, type ReadyWords, readyWords } from './list.js'

/** The document's name below `config/`. */
export const WORDS_CONFIG = 'words'

export interface LiveWords extends Stoppable {
  /** Undefined when there is nothing to find. */
  readonly now: ReadyWords | undefined
}

/**
 * Resolves when the first list is in force. While etcd is away the last one stays.
 * @param onRefused told of each list that cannot be used
 */
export async function followWords(registry: Registry, onRefused: () => void, log: Logger): Promise<LiveWords> {
  let now: ReadyWords | undefined
  /** The newest text; an older one that is still being made ready is not put in force. */
  let newest = 0
  let making: Promise<void> = Promise.resolve()

  async function take(text: string | undefined, number: number): Promise<void> {
    if (number !== newest) return
    try {
      const ready = text === undefined ? undefined : await readyWords(parseWords(text))
      if (number !== newest) return
      now = ready
      log.info({ words: ready?.count ?? 0 }, 'the word list is in force')
    } catch (error) {
      onRefused()
      log.error(
        { reason: (error as Error).message },
        'the word list in etcd cannot be used; the one before stays in force',
      )
    }
  }

  const following = await followConfig(
    registry,
    WORDS_CONFIG,
    (text) => {
      const number = ++newest
      // One after the other: two lists at a time would take twice the memory.
      making = making.then(() => take(text, number))
    },
    log,
  )
  await making
  return {
    get now() {
      return now
    },
    stop: () => following.stop(),
  }
}
