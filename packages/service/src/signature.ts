/** How an operator's request is signed: the one definition, for whoever checks it and whoever makes it. */
import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto'

/** The headers of a signed request. */
export const SIGNED_HEADERS = {
  key: 'x-tidings-key',
  timestamp: 'x-tidings-timestamp',
  nonce: 'x-tidings-nonce',
  signature: 'x-tidings-signature',
} as const

export interface SignedRequest {
  method: string
  /** The path with its query, exactly as it stands in the request line. */
  target: string
  /** The bytes of the body; empty where there is none. */
  body: Uint8Array | string
  timestamp: string
  nonce: string
}

/** @returns HMAC-SHA256 in hex over method, target, SHA-256 of the body in hex, timestamp and nonce, one a line, without a last line break */
export function signatureOf(secret: string, { method, target, body, timestamp, nonce }: SignedRequest): string {
  const digest = createHash('sha256').update(body).digest('hex')
  return createHmac('sha256', secret).update([method, target, digest, timestamp, nonce].join('\n')).digest('hex')
}

/** @returns whether this is the request's signature; takes as long for a wrong one as for the right one */
export function isSignatureOf(secret: string, request: SignedRequest, given: string): boolean {
  const right = Buffer.from(signatureOf(secret, request))
  const other = Buffer.from(given)
  return right.length === other.length && timingSafeEqual(right, other)
}

/** @returns the four headers of a request that is sent now, and once */
export function signedHeaders(
  key: { name: string; secret: string },
  request: Pick<SignedRequest, 'method' | 'target' | 'body'>,
  now: number = Date.now(),
): Record<string, string> {
  const timestamp = String(now)
  const nonce = randomBytes(16).toString('hex')
  return {
    [SIGNED_HEADERS.key]: key.name,
    [SIGNED_HEADERS.timestamp]: timestamp,
    [SIGNED_HEADERS.nonce]: nonce,
    [SIGNED_HEADERS.signature]: signatureOf(key.secret, { ...request, timestamp, nonce }),
  }
}
