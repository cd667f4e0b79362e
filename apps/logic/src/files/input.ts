/** Checks of what comes in about files. */
import { AppError, FILE_ID, MEDIA_TYPE } from '@tidings/protocol'

const SHA256 = /^[0-9a-f]{64}$/
const MESSAGE_ID = /^[1-9]\d{0,18}$/
const MAX_NAME = 255
const MAX_SIDE = 0xffff_ffff

const refuse = (message: string): AppError => new AppError('invalid_request', message)

/** Alike for what is not there and what may not be read. */
export const fileNotFound = (): AppError =>
  new AppError('file_not_found', 'There is no such file, or you may not read it.')

/** @throws AppError `file_not_found` */
export function fileOf(value: string): string {
  if (!FILE_ID.test(value)) throw fileNotFound()
  return value
}

export function newFileOf(value: string): string {
  if (!FILE_ID.test(value)) throw refuse('This is not the id of a file.')
  return value
}

export function fileNameOf(value: string): string {
  if (value.trim() === '' || [...value].length > MAX_NAME || /[\p{Cc}\p{Cs}/\\]/u.test(value))
    throw refuse(`A file name has 1 to ${MAX_NAME} characters, without slashes and control characters.`)
  return value
}

export function mediaTypeOf(value: string): string {
  if (!MEDIA_TYPE.test(value)) throw refuse('This is not a media type.')
  return value
}

export function sha256Of(value: string): string {
  if (!SHA256.test(value)) throw refuse('This is not a SHA-256 in hex.')
  return value
}

export function bytesOf(value: number): number {
  if (!Number.isSafeInteger(value) || value < 1) throw refuse('A file has at least one byte.')
  return value
}

/** @param value 0: not known */
export function sideOf(value: number): number | null {
  if (!Number.isInteger(value) || value < 0 || value > MAX_SIDE) throw refuse('This is not the side of an image.')
  return value === 0 ? null : value
}

export function messageIdOf(value: string): string {
  if (!MESSAGE_ID.test(value)) throw refuse('This is not the id of a message.')
  return value
}
