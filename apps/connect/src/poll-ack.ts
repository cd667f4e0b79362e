/**
 * The `ack` of a poll, as text that only we can make and that only its user and device can give back. Nobody is asked whether the user
 * is in the rooms that it names: it names only what this user was shown. Any node takes it, as often as it comes.
 */
import { createHmac, timingSafeEqual } from 'node:crypto'
import { AppError } from '@tidings/protocol'

export interface PollAck {
  session: string
  /** Which answer it confirms. */
  answer: number
  /** Up to where each conversation counts as acknowledged by it. */
  upTo: Readonly<Record<string, number>>
}

export interface PollAcks {
  seal(ack: PollAck, user: string, device: string): string
  /** @throws AppError `invalid_request` for any text that `seal` did not make for this user and device */
  open(text: string, user: string, device: string): PollAck
}

const MAX_LENGTH = 128 * 1024
const TAG_BYTES = 16
const SHAPE = /^([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{22})$/

/** @param secret the same in every process that opens what another one has sealed */
export function createPollAcks(secret: string): PollAcks {
  const key = createHmac('sha256', secret).update('tidings poll ack v1').digest()
  // None of the three has a line break in it, so no two lists give one text.
  const tagOf = (payload: string, user: string, device: string): Buffer =>
    createHmac('sha256', key).update(`${user}\n${device}\n${payload}`).digest().subarray(0, TAG_BYTES)

  return {
    seal(ack, user, device) {
      const payload = Buffer.from(JSON.stringify(ack)).toString('base64url')
      return `${payload}.${tagOf(payload, user, device).toString('base64url')}`
    },
    open(text, user, device) {
      const [, payload = '', tag = ''] = (text.length <= MAX_LENGTH && SHAPE.exec(text)) || []
      const given = Buffer.from(tag, 'base64url')
      if (given.length !== TAG_BYTES || !timingSafeEqual(given, tagOf(payload, user, device)))
        throw new AppError('invalid_request', 'ack is not one that a poll of this device was answered with.')
      return JSON.parse(Buffer.from(payload, 'base64url').toString()) as PollAck
    },
  }
}
