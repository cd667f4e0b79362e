/**
 * What messages of the types `image` and `file` say of what they show. One check for HTTP, batches and frames. The content itself goes on
 * as the sender's text; here it is only read.
 */
import { AppError } from './errors.js'

/** 16 random bytes, base64url. */
export const FILE_ID = /^[A-Za-z0-9_-]{22}$/
/** Without parameters, lower case. */
export const MEDIA_TYPE = /^[a-z0-9][a-z0-9!#$&^_.+-]{0,62}\/[a-z0-9][a-z0-9!#$&^_.+-]{0,62}$/
/** Where uploaded files are read. */
export const FILES_PATH = '/api/v1/files/'

const MAX_URL = 2_048
const MAX_NAME = 255
const MAX_SIDE = 100_000
const MOST_TOLD = 10
/** Control characters, halves of pairs, and marks that turn the reading direction: a name must look like what it is. */
const NOT_IN_NAMES = /[\p{Cc}\p{Cs}/\\\u2028\u2029\u202A-\u202E\u2066-\u2069]/u
const LOOPBACK = new Set(['localhost', '127.0.0.1', '[::1]'])

/** An uploaded file that a message refers to, and what the message says of it. */
export interface FileClaim {
  id: string
  /** Undefined, '': nothing is said. */
  size: number | undefined
  mediaType: string
  /** Where in the message, RFC 6901. */
  pointer: string
}

interface Fault {
  pointer: string
  message: string
}

export const showsFile = (type: string): boolean => type === 'image' || type === 'file'

/**
 * @param type `image` or `file`
 * @param content JSON of an object
 * @returns the uploaded files among what it refers to
 * @throws AppError `invalid_content`, with the faults in `errors`
 */
export function fileClaims(type: string, content: string): FileClaim[] {
  const about = JSON.parse(content) as Record<string, unknown>
  const faults: Fault[] = []
  const claims: FileClaim[] = []
  checkReference(about, '/content', type, true, faults, claims)
  const name = about.name
  if (typeof name !== 'string' || name.trim() === '' || [...name].length > MAX_NAME || NOT_IN_NAMES.test(name))
    faults.push({
      pointer: '/content/name',
      message: `must be a file name of 1 to ${MAX_NAME} characters, without slashes and control characters`,
    })
  if (about.thumbnail !== undefined) checkThumbnail(about.thumbnail, faults, claims)
  if (faults.length === 0) return claims
  const errors = faults.slice(0, MOST_TOLD)
  throw new AppError('invalid_content', `${errors[0]!.pointer} ${errors[0]!.message}.`, { details: { errors } })
}

function checkThumbnail(thumbnail: unknown, faults: Fault[], claims: FileClaim[]): void {
  const pointer = '/content/thumbnail'
  if (typeof thumbnail !== 'object' || thumbnail === null || Array.isArray(thumbnail))
    faults.push({ pointer, message: 'must be an object with url, and width, height, size and mediaType if you like' })
  else checkReference(thumbnail as Record<string, unknown>, pointer, 'image', false, faults, claims)
}

function checkReference(
  about: Record<string, unknown>,
  at: string,
  type: string,
  full: boolean,
  faults: Fault[],
  claims: FileClaim[],
): void {
  const { url, size, mediaType, width, height } = about
  const fault = (name: string, message: string): void => void faults.push({ pointer: `${at}/${name}`, message })
  const id = uploadedId(url)
  if (id === undefined && !isOutsideUrl(url)) {
    fault(
      'url',
      `must be the url of an uploaded file (${FILES_PATH}...), or an https URL of at most ${MAX_URL} characters`,
    )
  }
  if ((full || size !== undefined) && !isWhole(size, 0, Number.MAX_SAFE_INTEGER))
    fault('size', 'must be how many bytes it has')
  if (full || mediaType !== undefined) {
    if (typeof mediaType !== 'string' || !MEDIA_TYPE.test(mediaType))
      fault('mediaType', 'must be a media type in lower case, without parameters, such as image/png')
    else if (type === 'image' && !mediaType.startsWith('image/')) fault('mediaType', 'must be that of an image')
  }
  for (const [name, side] of Object.entries({ width, height })) {
    if (side !== undefined && !isWhole(side, 1, MAX_SIDE)) fault(name, `must be a whole number from 1 to ${MAX_SIDE}`)
  }
  if (id === undefined) return
  claims.push({
    id,
    size: typeof size === 'number' ? size : undefined,
    mediaType: typeof mediaType === 'string' ? mediaType : '',
    pointer: at,
  })
}

const isWhole = (value: unknown, least: number, most: number): boolean =>
  Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most

function uploadedId(url: unknown): string | undefined {
  if (typeof url !== 'string' || !url.startsWith(FILES_PATH)) return undefined
  const id = url.slice(FILES_PATH.length)
  return FILE_ID.test(id) ? id : undefined
}

/** Something else than https only from the machine itself, for trying things out. */
function isOutsideUrl(url: unknown): boolean {
  // What a parser of URLs would mend is refused: others may mend it in another way.
  if (typeof url !== 'string' || url.length > MAX_URL || !/^https?:\/\/[!-[\]-~]+$/.test(url)) return false
  if (!URL.canParse(url)) return false
  const { protocol, hostname, username, password } = new URL(url)
  if (username !== '' || password !== '') return false
  return protocol === 'https:' || LOOPBACK.has(hostname)
}
