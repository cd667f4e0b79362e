/** Which bytes are asked for, and whether anything must be sent at all (RFC 9110, sections 13 and 14). Pure. */
import { AppError } from '@tidings/protocol'
import type { ByteRange } from './blobs.js'

export interface Conditions {
  range?: string | undefined
  ifRange?: string | undefined
  ifNoneMatch?: string | undefined
}

export interface Version {
  /** With its quotes. */
  etag: string
  /** As in Last-Modified. */
  modified: string
  size: number
}

/** The caller has exactly this. */
export function isKnown({ ifNoneMatch }: Conditions, { etag }: Version): boolean {
  if (ifNoneMatch === undefined) return false
  return ifNoneMatch.split(',').some((one) => {
    const tag = one.trim()
    return tag === '*' || tag === etag || tag === `W/${etag}`
  })
}

/**
 * One range; several at once, and what cannot be read as a range, get the whole.
 * @returns undefined for the whole
 * @throws AppError `range_not_satisfiable`
 */
export function rangeOf({ range, ifRange }: Conditions, version: Version): ByteRange | undefined {
  if (range === undefined) return undefined
  // A range of another version than the caller has would be put together with that.
  if (ifRange !== undefined && ifRange !== version.etag && ifRange !== version.modified) return undefined
  const match = /^bytes=\s*(\d{0,15})-(\d{0,15})\s*$/i.exec(range)
  if (!match || (match[1] === '' && match[2] === '')) return undefined
  const { size } = version
  if (match[1] === '') {
    const count = Number(match[2])
    if (count === 0) throw outside(size)
    return { first: Math.max(0, size - count), last: size - 1 }
  }
  const first = Number(match[1])
  const last = match[2] === '' ? size - 1 : Number(match[2])
  if (match[2] !== '' && last < first) return undefined
  if (first >= size) throw outside(size)
  return { first, last: Math.min(last, size - 1) }
}

const outside = (size: number): AppError =>
  new AppError('range_not_satisfiable', `The file has ${size} bytes.`, { details: { size } })
