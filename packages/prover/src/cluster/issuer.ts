/** An outside identity provider: tokens with keys of its own, and the document in which it publishes them. */
import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

const TOKEN_SECONDS = 3_600

interface Key {
  kid: string
  secret: KeyObject
  /** What the document says of it. */
  jwk: object
}

export interface Issuer {
  /** For TIDINGS_JWKS_URL. */
  readonly url: string
  /** How often somebody has read the document. */
  readonly reads: number
  /** A new key, published beside those that are. @returns its name */
  publish(): string
  /** @param kid which key signs; the latest if left out */
  token(user: string, kid?: string): string
  close(): Promise<void>
}

export async function startIssuer(): Promise<Issuer> {
  const keys: Key[] = []
  let reads = 0
  const server = createServer((_request, response) => {
    reads++
    response.setHeader('content-type', 'application/json').end(JSON.stringify({ keys: keys.map(({ jwk }) => jwk) }))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  function publish(): string {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519')
    const kid = randomBytes(6).toString('hex')
    keys.push({
      kid,
      secret: privateKey,
      jwk: { ...publicKey.export({ format: 'jwk' }), kid, alg: 'EdDSA', use: 'sig' },
    })
    return kid
  }
  publish()
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`,
    get reads() {
      return reads
    },
    publish,
    token(user, kid = keys.at(-1)!.kid) {
      const now = Math.floor(Date.now() / 1_000)
      const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
      const body = `${part({ alg: 'EdDSA', typ: 'JWT', kid })}.${part({ sub: user, iat: now, exp: now + TOKEN_SECONDS })}`
      const { secret } = keys.find((key) => key.kid === kid)!
      return `${body}.${sign(null, Buffer.from(body), secret).toString('base64url')}`
    },
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
