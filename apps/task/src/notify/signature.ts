/**
 * What proves to an endpoint that a delivery is ours and when it was sent: Standard Webhooks, version 1
 * (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md, "Signature scheme").
 */
import { createHmac } from 'node:crypto'

export const SECRET_PREFIX = 'whsec_'

/** Those that a delivery of this moment is signed with: beside the present one, for a while, the one before. */
export function secretsAt(
  { secret, oldSecret, oldSecretUntil }: { secret: string; oldSecret: string | null; oldSecretUntil: Date | null },
  now: number,
): string[] {
  const isOldOneGood = oldSecret !== null && oldSecretUntil !== null && oldSecretUntil.getTime() > now
  return isOldOneGood ? [secret, oldSecret] : [secret]
}

/**
 * @param secrets each `whsec_` and the key in base64; an endpoint needs to know one of them
 * @param at seconds since 1970: of this try, so that an old delivery cannot be played again
 * @returns the headers `webhook-id`, `webhook-timestamp` and `webhook-signature`
 */
export function signedHeaders(
  secrets: readonly string[],
  id: string,
  at: number,
  body: string,
): Record<string, string> {
  const signed = `${id}.${at}.${body}`
  const signatures = secrets.map((secret) => {
    const key = Buffer.from(secret.slice(SECRET_PREFIX.length), 'base64')
    return `v1,${createHmac('sha256', key).update(signed).digest('base64')}`
  })
  return { 'webhook-id': id, 'webhook-timestamp': String(at), 'webhook-signature': signatures.join(' ') }
}
