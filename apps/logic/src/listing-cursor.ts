/** Where a page of a listing ended, as text that only we can make, and that only its user and device can go on with. */
import { createHmac, timingSafeEqual } from 'node:crypto'
import { AppError } from '@tidings/protocol'

export interface ListingCursor {
  /** Up to `seq` of this conversation all is listed, and all conversations before it by name. */
  conversation: string
  seq: number
  /** The listing began at the beginning, whatever is acknowledged. */
  oldest: boolean
}

export interface ListingCursors {
  seal(cursor: ListingCursor, user: string, device: string): string
  /** @throws AppError `invalid_request` for any text that `seal` did not make for this user and device */
  open(text: string, user: string, device: string): ListingCursor
}

const TAG_BYTES = 16
const SHAPE = /^([A-Za-z0-9_-]{4,400})\.([A-Za-z0-9_-]{22})$/

/** @param secret the same in every process that opens what another one has sealed */
export function createListingCursors(secret: string): ListingCursors {
  const key = createHmac('sha256', secret).update('tidings listing cursor v1').digest()
  // None of the three has a line break in it, so no two lists give one text.
  const tagOf = (payload: string, user: string, device: string): Buffer =>
    createHmac('sha256', key).update(`${user}\n${device}\n${payload}`).digest().subarray(0, TAG_BYTES)

  return {
    seal({ conversation, seq, oldest }, user, device) {
      const payload = Buffer.from(JSON.stringify([conversation, seq, oldest])).toString('base64url')
      return `${payload}.${tagOf(payload, user, device).toString('base64url')}`
    },
    open(text, user, device) {
      const [, payload = '', tag = ''] = SHAPE.exec(text) ?? []
      const given = Buffer.from(tag, 'base64url')
      if (given.length !== TAG_BYTES || !timingSafeEqual(given, tagOf(payload, user, device))) {
        throw new AppError('invalid_request', 'cursor is not one that a page of this listing ended with.')
      }
      const [conversation, seq, oldest] = JSON.parse(Buffer.from(payload, 'base64url').toString()) as [
        string,
        number,
        boolean,
      ]
      return { conversation, seq, oldest }
    },
  }
}
