/** Dead letters, as an operator lists, requeues and drops them; `npm run dead` does the same without an api. */
import { AppError } from '@tidings/protocol'
import {
  dropLetter,
  fieldOf,
  GROUPS,
  type Group,
  type Keys,
  type Letter,
  type LetterPlace,
  type Redis,
  readLetters,
  redisAway,
  retryLetter,
} from '@tidings/stream'

export interface DeadLetters {
  /**
   * A page: by group, then by partition, the oldest first.
   * @param after the last letter of the page before
   * @throws AppError `unavailable`
   */
  list(
    group: Group | undefined,
    after: LetterPlace | undefined,
    limit: number,
  ): Promise<{ letters: Letter[]; more: boolean }>
  /** @returns the new id in its partition's stream; undefined when the letter is gone @throws AppError `invalid_request`, `unavailable` */
  requeue(place: LetterPlace): Promise<string | undefined>
  /** @returns false when the letter is gone @throws AppError `unavailable` */
  drop(place: LetterPlace): Promise<boolean>
}

export function createDeadLetters(redis: Redis, keys: Keys): DeadLetters {
  async function orAway<T>(answer: Promise<T>): Promise<T> {
    try {
      return await answer
    } catch (error) {
      throw redisAway(error)
    }
  }

  return {
    async list(group, after, limit) {
      const groups = group ? [group] : GROUPS
      const first = after ? groups.indexOf(after.group) : 0
      if (first === -1) throw new AppError('invalid_request', 'This cursor is of another group.')
      const letters: Letter[] = []
      for (const of of groups.slice(first)) {
        const from = after?.group === of ? after.partition : 0
        for (let partition = from; partition < keys.partitions; partition++) {
          const isSame = after?.group === of && after.partition === partition
          const page = { after: isSame ? after.id : undefined, limit: limit + 1 - letters.length }
          letters.push(...(await orAway(readLetters(redis, keys, { group: of, partition }, page))))
          if (letters.length > limit) return { letters: letters.slice(0, limit), more: true }
        }
      }
      return { letters, more: false }
    },
    async requeue(place) {
      try {
        return await retryLetter(redis, keys, place)
      } catch (error) {
        if (error instanceof Error && error.message.includes('not a dead letter of Tidings'))
          throw new AppError(
            'invalid_request',
            'This letter was not written by Tidings. Drop it, or see to it in Redis.',
          )
        throw redisAway(error)
      }
    },
    drop: (place) => orAway(dropLetter(redis, keys, place)),
  }
}

/** What a letter shows of itself; what people wrote only on request. */
export function letterJson(letter: Letter, withContent: boolean) {
  const { group, partition, id, reason, deliveries, entry } = letter
  const seq = Number(fieldOf(letter, 'seq'))
  const content = withContent ? fieldOf(letter, 'content') : undefined
  return {
    ...{ group, partition, id },
    at: Number(id.split('-')[0]),
    ...{ reason, deliveries, entry },
    message: fieldOf(letter, 'id') ?? null,
    conversation: fieldOf(letter, 'conversation') ?? null,
    seq: Number.isSafeInteger(seq) ? seq : null,
    from: fieldOf(letter, 'from') ?? null,
    type: fieldOf(letter, 'type') ?? null,
    ...(content !== undefined && { content }),
  }
}

const CURSOR = new RegExp(`^(${GROUPS.join('|')}):(\\d{1,4}):(\\d{1,16}-\\d{1,16})$`)

/** A letter as a cursor. */
export const cursorOf = ({ group, partition, id }: LetterPlace): string => `${group}:${partition}:${id}`

/** @throws AppError `invalid_request` */
export function parseCursor(text: string): LetterPlace {
  const [, group, partition, id] = CURSOR.exec(text) ?? []
  if (id === undefined) throw new AppError('invalid_request', 'cursor is the nextCursor of the page before.')
  return { group: group as Group, partition: Number(partition), id }
}
