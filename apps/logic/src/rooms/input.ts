/** Checks of what comes in about rooms. */
import { AppError, MAX_CHANGED_MEMBERS, ROOM_ID } from '@tidings/protocol'
import { userOf } from '../input.js'
import { roomNotFound } from './rules.js'

/** What cannot be a room is told like one that is not there. */
export function roomOf(value: string, refuse: () => AppError = roomNotFound): string {
  if (!ROOM_ID.test(value)) throw refuse()
  return value
}

/** Users of one change, each once. @throws AppError `invalid_request` */
export function changedUsersOf(values: readonly string[]): string[] {
  if (values.length > MAX_CHANGED_MEMBERS) {
    throw new AppError('invalid_request', `At most ${MAX_CHANGED_MEMBERS} members at once.`)
  }
  return [...new Set(values.map(userOf))]
}
