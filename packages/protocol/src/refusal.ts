/** Errors of single items in the answer to a call about many. */
import { AppError, isErrorCode, toAppError } from './errors.js'
import type { Refusal } from './gen/tidings/v1/logic.js'

/** @param thrown anything; what is not an AppError is `internal`, with nothing of it shown */
export function toRefusal(thrown: unknown): Refusal {
  const { code, message, retryAfter } = toAppError(thrown)
  return { code, message, retryAfter: Math.ceil(retryAfter ?? 0) }
}

export function fromRefusal({ code, message, retryAfter }: Refusal): AppError {
  return new AppError(isErrorCode(code) ? code : 'internal', message, retryAfter > 0 ? { retryAfter } : {})
}
