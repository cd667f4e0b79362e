/**
 * Who is behind a token. One verifier for api and connect: our own and a team's HS256 tokens, an outside identity provider's key or
 * JWKS, and service tokens. The algorithm belongs to the key and is never taken from the token (RFC 8725, section 3.1).
 */
import { createHash, createPublicKey, type KeyObject, timingSafeEqual } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { AppError, USER_ID } from '@tidings/protocol'
import { ConfigError, type ServiceToken } from '@tidings/service'
import { createVerifier } from 'fast-jwt'
import {
  createRemoteJWKSet,
  decodeProtectedHeader,
  errors,
  type JWTPayload,
  type JWTVerifyOptions,
  jwtVerify,
} from 'jose'
import { LRUCache } from 'lru-cache'
import type { Identity } from './types.js'

/** `iss` of the tokens of our own sign-in. A team's backend signs with the same secret: its `sid` names a session of its own. */
export const OWN_ISSUER = 'tidings'
const MAX_KEPT = 20_000
const MAX_TOKEN_LENGTH = 8_192
/** The clock of an issuer may be ahead of ours by this much: a token made just now is valid now. `exp` is exact all the same. */
const CLOCK_TOLERANCE_S = 30
const OUTSIDE_ALGORITHMS = ['RS256', 'ES256', 'EdDSA']

export interface TokenSettings {
  jwtSecret: string
  /** SPKI in PEM, or the path of such a file. */
  publicKey: string | undefined
  jwksUrl: string | undefined
  issuer: string | undefined
  audience: string | undefined
  serviceTokens: readonly ServiceToken[]
}

export interface Tokens {
  /** @throws AppError `unauthenticated`, one code and one text for every reason; `unavailable` when a key cannot be fetched */
  verify(token: string): Identity | Promise<Identity>
  /** @returns whose token of ours this is, when nothing is wrong with it but that its session was ended */
  userOfEnded(token: string): string | undefined
}

/**
 * @param maxKept verified tokens that are kept: for whoever sees the same ones again and again. Each takes some 300 bytes
 * @throws ConfigError when the public key cannot be used
 */
export function createTokens(
  settings: TokenSettings,
  isRevoked: (sessionId: string) => boolean,
  maxKept: number = MAX_KEPT,
): Tokens {
  const kept = new LRUCache<string, Known>({ max: maxKept })
  // At once: jose gives each signature to another thread, and when ten thousand come back that costs more than the signature.
  const verifyOwn = createVerifier({
    key: settings.jwtSecret,
    algorithms: ['HS256'],
    requiredClaims: ['sub', 'exp'],
    clockTolerance: CLOCK_TOLERANCE_S * 1_000,
    // Verified tokens are kept here.
    cache: false,
  }) as (token: string) => JWTPayload
  const services = settings.serviceTokens.map(toService)
  const outside = outsideKeys(settings)

  /** Tokens of one issuer begin alike: what was decoded last is mostly what comes next. */
  let lastHead = { text: '', alg: undefined as string | undefined }
  function algorithmOf(token: string): string | undefined {
    const text = token.slice(0, token.indexOf('.') + 1)
    if (text === '' || text !== lastHead.text) lastHead = { text, alg: decodeProtectedHeader(token).alg }
    return lastHead.alg
  }

  function verifyJwt(token: string): Identity | Promise<Identity> {
    try {
      const alg = algorithmOf(token)
      if (alg === 'HS256') return keep(token, verifyOwn(token), true)
      for (const verify of outside) if (verify.algorithms.includes(alg ?? '')) return verifyOutside(verify, token)
    } catch (error) {
      throw refusalOf(error)
    }
    throw unauthenticated()
  }

  async function verifyOutside(verify: OutsideKey, token: string): Promise<Identity> {
    try {
      return keep(token, await verify.run(token), false)
    } catch (error) {
      throw refusalOf(error)
    }
  }

  /** Who a token with a right signature stands for. */
  function keep(token: string, { iss, sub, exp, sid }: JWTPayload, own: boolean): Identity {
    if (typeof sub !== 'string' || !USER_ID.test(sub)) throw unauthenticated()
    const identity: Identity = {
      user: sub,
      // Whoever else says sid means a session that is not known here, and of a user who perhaps is not, either.
      sessionId: own && iss === OWN_ISSUER && typeof sid === 'string' ? sid : undefined,
      expiresAt: exp! * 1_000,
      scopes: undefined,
    }
    refuseEnded(identity)
    kept.set(endOf(token), { token, identity })
    return identity
  }

  function refuseEnded(identity: Identity): void {
    if (Date.now() >= identity.expiresAt || (identity.sessionId !== undefined && isRevoked(identity.sessionId)))
      throw unauthenticated()
  }

  return {
    verify(token) {
      const known = kept.get(endOf(token))
      if (known?.token === token) {
        refuseEnded(known.identity)
        return known.identity
      }
      if (token.length > MAX_TOKEN_LENGTH) throw unauthenticated()
      const service = findService(services, token)
      if (service) return service
      return verifyJwt(token)
    },
    userOfEnded(token) {
      try {
        const { iss, sub, exp, sid } = verifyOwn(token)
        const ended = iss === OWN_ISSUER && typeof sid === 'string' && isRevoked(sid) && Date.now() < exp! * 1_000
        return ended ? sub : undefined
      } catch {
        return undefined
      }
    },
  }
}

/** A token that was verified. */
interface Known {
  token: string
  identity: Identity
}

/** Tokens are looked up by the last part of their signatures: to hash all of one would cost more than to compare it. */
const endOf = (token: string): string => token.slice(-24)

const RULES: JWTVerifyOptions = { requiredClaims: ['sub', 'exp'], clockTolerance: CLOCK_TOLERANCE_S }

const refusalOf = (error: unknown): AppError => (error instanceof AppError ? error : unauthenticated(error))

const unauthenticated = (cause?: unknown): AppError =>
  new AppError('unauthenticated', 'The token is missing, not valid, expired or revoked.', { cause })

/** jose passes on what fetch threw, or complains about the answer's status: then nobody can tell whether the token is valid. */
const isFetchFailure = (error: unknown): boolean =>
  error instanceof errors.JWKSTimeout || (error instanceof errors.JOSEError ? error.code === 'ERR_JOSE_GENERIC' : true)

const keysAway = (cause: unknown): AppError =>
  new AppError('unavailable', 'The keys of the identity provider cannot be fetched now.', { cause, retryAfter: 2 })

interface OutsideKey {
  algorithms: readonly string[]
  run(token: string): Promise<JWTPayload>
}

function outsideKeys({ publicKey, jwksUrl, issuer, audience }: TokenSettings): OutsideKey[] {
  const rules = { ...RULES, ...(issuer && { issuer }), ...(audience && { audience }) }
  const found: OutsideKey[] = []
  if (publicKey !== undefined) {
    const key = readPublicKey(publicKey)
    const algorithms = [algorithmOf(key)]
    found.push({ algorithms, run: async (token) => (await jwtVerify(token, key, { ...rules, algorithms })).payload })
  }
  if (jwksUrl !== undefined) {
    const keys = createRemoteJWKSet(new URL(jwksUrl), { timeoutDuration: 2_000, cooldownDuration: 5_000 })
    const algorithms = OUTSIDE_ALGORITHMS
    found.push({
      algorithms,
      async run(token) {
        try {
          return (await jwtVerify(token, keys, { ...rules, algorithms })).payload
        } catch (error) {
          throw isFetchFailure(error) ? keysAway(error) : error
        }
      },
    })
  }
  return found
}

function readPublicKey(given: string): KeyObject {
  try {
    return createPublicKey(given.includes('-----BEGIN') ? given.replaceAll('\\n', '\n') : readFileSync(given))
  } catch (error) {
    throw new ConfigError(
      'TIDINGS_JWT_PUBLIC_KEY cannot be used: give an SPKI public key in PEM, or the path of one.',
      {
        cause: error,
      },
    )
  }
}

function algorithmOf(key: KeyObject): string {
  if (key.asymmetricKeyType === 'rsa') return 'RS256'
  if (key.asymmetricKeyType === 'ed25519') return 'EdDSA'
  if (key.asymmetricKeyType === 'ec' && key.asymmetricKeyDetails?.namedCurve === 'prime256v1') return 'ES256'
  throw new ConfigError('TIDINGS_JWT_PUBLIC_KEY cannot be used: give an RSA, P-256 or Ed25519 key.')
}

interface Service {
  digest: Buffer
  identity: Identity
}

const sha256 = (text: string): Buffer => createHash('sha256').update(text).digest()

function toService({ name, scopes, token }: ServiceToken): Service {
  const hex = /^sha256\$([0-9a-f]{64})$/.exec(token)?.[1]
  return {
    digest: hex ? Buffer.from(hex, 'hex') : sha256(token),
    identity: { user: name, sessionId: undefined, expiresAt: Number.POSITIVE_INFINITY, scopes: new Set(scopes) },
  }
}

function findService(services: readonly Service[], token: string): Identity | undefined {
  if (services.length === 0) return undefined
  const digest = sha256(token)
  return services.find((service) => timingSafeEqual(service.digest, digest))?.identity
}
