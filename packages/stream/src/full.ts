/** A Redis that has reached its maxmemory: it refuses what may make it larger, and its consumers go on. */
import { AppError } from '@tidings/protocol'
import { jitterSeconds } from '@tidings/service'

/** Did Redis refuse a command because its memory is full? Then the command has not run. */
export const isFull = (error: unknown): boolean => error instanceof Error && error.message.startsWith('OOM ')

/** Memory frees itself more slowly than a queue does: 5 to 15 seconds, so that not all come back at once. */
export const redisFull = (cause?: unknown): AppError =>
  new AppError('overloaded', 'The message store is full for now; nothing was accepted. Try again shortly.', {
    cause,
    retryAfter: jitterSeconds(5, 15),
  })
