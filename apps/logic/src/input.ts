/** Checks of what comes in. Callers have checked it too; a rule that is held in one process only is not held. */
import { AppError, DEVICE, USER_ID } from '@tidings/protocol'

const PASSWORD_MIN = 8
const PASSWORD_MAX = 128
const DISPLAY_NAME_MAX = 100
export const DEFAULT_DEVICE = 'default'

const SESSION_ID = /^[A-Za-z0-9_-]{1,32}$/
/** Control characters, halves of pairs, and marks that turn the reading direction of what follows. */
const NOT_IN_NAMES = /[\p{Cc}\p{Cs}\u2028\u2029\u202A-\u202E\u2066-\u2069]/u

const refuse = (message: string): AppError => new AppError('invalid_request', message)

export function userOf(value: string): string {
  if (!USER_ID.test(value)) throw refuse('A user name has 1 to 64 of A-Z, a-z, 0-9, _, ., @ and -.')
  return value
}

/** '' means the default device. */
export function deviceOf(value: string): string {
  if (value === '') return DEFAULT_DEVICE
  if (!DEVICE.test(value)) throw refuse('A device has 1 to 64 of A-Z, a-z, 0-9, _, ., @ and -.')
  return value
}

export function sessionOf(value: string): string {
  if (!SESSION_ID.test(value)) throw refuse('This is not the id of a session.')
  return value
}

/** The same password typed on another keyboard may be composed differently: NFC (RFC 8265, section 4.2). Lengths are in characters. */
export function passwordOf(value: string): string {
  const normal = value.length <= 8 * PASSWORD_MAX ? value.normalize('NFC') : value
  const length = normal.length > 2 * PASSWORD_MAX ? normal.length : [...normal].length
  if (length < PASSWORD_MIN || length > PASSWORD_MAX) {
    throw refuse(`A password has ${PASSWORD_MIN} to ${PASSWORD_MAX} characters.`)
  }
  return normal
}

export const displayNameOf = (value: string): string => shownName('A display name', value)
/** Of a room. */
export const nameOf = (value: string): string => shownName('A name', value)

function shownName(what: string, value: string): string {
  const length = value.length > 2 * DISPLAY_NAME_MAX ? value.length : [...value].length
  if (value.trim() === '' || length > DISPLAY_NAME_MAX || NOT_IN_NAMES.test(value)) {
    throw refuse(`${what} has 1 to ${DISPLAY_NAME_MAX} characters, without control characters.`)
  }
  return value
}

/** @param name the field, for the message */
export function oneOf<const Word extends string>(name: string, words: readonly Word[], value: string): Word {
  const word = words.find((one) => one === value)
  if (word === undefined) throw refuse(`${name} is one of ${words.join(', ')}.`)
  return word
}

/** @param name the field, for the message */
export function seqOf(name: string, value: number): number {
  if (!Number.isSafeInteger(value) || value < 0) throw refuse(`${name} is a whole number from 0.`)
  return value
}

/** @param value 0 means the default */
export function limitOf(value: number, bounds: { default: number; max: number }): number {
  if (value === 0) return bounds.default
  if (!Number.isSafeInteger(value) || value < 1 || value > bounds.max)
    throw refuse(`limit is a whole number from 1 to ${bounds.max}.`)
  return value
}
