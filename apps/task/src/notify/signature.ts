/**
 * What proves to an endpoint that a delivery is ours and when it was sent: Standard Webhooks, version 1
 * (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md, "Signature scheme").
 */
import { createHmac } from 'node:crypto'

export const SECRET_PREFIX = 'whsec_'

/**
 * @param secret `whsec_` and the key in base64
 * @param at seconds since 1970: of this try, so that an old delivery cannot be played again
 * @returns the headers `webhook-id`, `webhook-timestamp` and `webhook-signature`
 */
export function signedHeaders(secret: string, id: string, at: number, body: string): Record<string, string> {
  const key = Buffer.from(secret.slice(SECRET_PREFIX.length), 'base64')
  const signature = createHmac('sha256', key).update(`${id}.${at}.${body}`).digest('base64')
  return { 'webhook-id': id, 'webhook-timestamp': String(at), 'webhook-signature': `v1,${signature}` }
}
