/** The word list that is in etcd, for operators. */
import { parseWords, readyWords, WORDS_CONFIG } from '@tidings/accept'
import { AppError } from '@tidings/protocol'
import { type Registry, readConfigText, writeConfigText } from '@tidings/registry'

/** Takes the place of a list that is taken away: without one, processes would put back what they know into an etcd that has lost it. */
const EMPTY = '{"words":[]}'

export interface WordListStore {
  /** @returns the document @throws AppError `unavailable` */
  read(): Promise<string>
  /**
   * Checks a document, and has it in force on every process within moments.
   * @returns how many words it has @throws AppError `invalid_request`, `unavailable`
   */
  write(text: string): Promise<number>
  /** @throws AppError `unavailable` */
  clear(): Promise<void>
}

export function createWordListStore(registry: Registry): WordListStore {
  return {
    read: async () => (await asked(readConfigText(registry, WORDS_CONFIG))) ?? EMPTY,
    async write(text) {
      // Made ready for nothing but to see that it can be: each process does so for itself.
      const ready = await readyWords(parseWords(text))
      await asked(writeConfigText(registry, WORDS_CONFIG, text))
      return ready?.count ?? 0
    },
    clear: () => asked(writeConfigText(registry, WORDS_CONFIG, EMPTY)),
  }
}

async function asked<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer
  } catch (cause) {
    throw new AppError('unavailable', 'etcd does not answer now. The list in force stays.', { cause, retryAfter: 2 })
  }
}
