/** A push as its service takes it: encrypted for the device (RFC 8291), signed as ours (RFC 8292), with a bound on its life (RFC 8030). */
import { createHash } from 'node:crypto'
import type { ClaimedPush } from '@tidings/store'
import webPush from 'web-push'
import type { Outgoing } from './outgoing.js'

/** How long a service keeps it for a device that is off. */
export const TTL_S = 24 * 60 * 60
/** RFC 8030, section 5.4: at most so many characters of base64url. */
const TOPIC_LENGTH = 32

export interface Vapid {
  publicKey: string
  privateKey: string
  subject: string
}

/** What the device is shown. Nobody but the device can read it. */
export function payloadOf(push: ClaimedPush): string {
  const { conversation, seq, id, from, fromName, roomName, preview } = push
  return JSON.stringify({
    conversation,
    seq,
    id,
    from,
    title: roomName ?? fromName ?? from,
    ...(preview !== '' && { text: preview }),
  })
}

/** @param now Unix milliseconds @throws when the subscription's keys are none: it can never be pushed to */
export function pushRequest(push: ClaimedPush & { subscription: object }, vapid: Vapid, now = Date.now()): Outgoing {
  const { endpoint, p256dh, auth } = push.subscription as NonNullable<ClaimedPush['subscription']>
  const { headers, body } = webPush.generateRequestDetails({ endpoint, keys: { p256dh, auth } }, payloadOf(push), {
    vapidDetails: vapid,
    contentEncoding: 'aes128gcm',
    TTL: Math.min(TTL_S, Math.ceil(((push.expiresAt ?? Number.POSITIVE_INFINITY) - now) / 1_000)),
    urgency: push.urgent ? 'high' : 'normal',
    // A service keeps but the newest of a topic: one for a conversation, whose name it is not told.
    topic: createHash('sha256').update(push.conversation).digest('base64url').slice(0, TOPIC_LENGTH),
  })
  return { url: endpoint, headers: headers as Record<string, string | number>, body }
}
