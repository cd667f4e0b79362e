import { createHash, createHmac, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { createTokens, type TokenSettings } from '../src/index.js'

const jwtSecret = randomBytes(32).toString('hex')
const now = (): number => Math.floor(Date.now() / 1_000)
const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
const claims = (over: object = {}): object => ({ sub: 'alice', exp: now() + 60, ...over })

function hmac(payload: object, header: object = { alg: 'HS256' }, secret = jwtSecret, hash = 'sha256'): string {
  const text = `${part(header)}.${part(payload)}`
  return `${text}.${createHmac(hash, secret).update(text).digest('base64url')}`
}

function asymmetric(payload: object, alg: string, key: KeyObject, header: object = {}): string {
  const text = `${part({ alg, ...header })}.${part(payload)}`
  const options = alg === 'ES256' ? { key, dsaEncoding: 'ieee-p1363' as const } : key
  return `${text}.${sign(alg === 'EdDSA' ? null : 'sha256', Buffer.from(text), options).toString('base64url')}`
}

const settings = (over: Partial<TokenSettings> = {}): TokenSettings => ({
  jwtSecret,
  publicKey: undefined,
  jwksUrl: undefined,
  issuer: undefined,
  audience: undefined,
  serviceTokens: [],
  ...over,
})
const never = (): boolean => false
const pem = (key: KeyObject): string => key.export({ type: 'spki', format: 'pem' }).toString()
const verify = async (tokens: ReturnType<typeof createTokens>, token: string) => await tokens.verify(token)

const ed = generateKeyPairSync('ed25519')
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })

t.test('HS256: a team mints tokens for its own users', async (t) => {
  const tokens = createTokens(settings(), never)
  t.match(await verify(tokens, hmac(claims({ iss: 'tidings', sid: 's1' }))), {
    user: 'alice',
    sessionId: 's1',
    scopes: undefined,
  })
  t.match(await verify(tokens, hmac(claims())), { user: 'alice', sessionId: undefined })
  for (const iss of [undefined, 'https://team.example'])
    t.equal(
      (await verify(tokens, hmac(claims({ iss, sid: 's1' })))).sessionId,
      undefined,
      'a session of a backend of its own',
    )
  t.match(await verify(tokens, hmac(claims({ nbf: now() + 20 }))), { user: 'alice' }, 'clocks may differ by 30 s')
})

t.test('a token that was verified vouches for itself alone', async (t) => {
  const tokens = createTokens(settings(), never)
  const good = hmac(claims())
  const [head, , signature] = good.split('.')
  const forged = `${head}.${part(claims({ sub: 'mallory' }))}.${signature}`
  for (const token of [good.slice(-24), good.slice(-43), forged, ` ${good}`, good.slice(1)]) {
    await verify(tokens, good)
    t.match(tokens.verify(good), { user: 'alice' }, 'at once')
    await t.rejects(verify(tokens, token), { code: 'unauthenticated' })
  }
  t.match(tokens.verify(good), { user: 'alice' })
})

t.test('everything that is not right is unauthenticated, with one text', async (t) => {
  const tokens = createTokens(settings({ publicKey: pem(rsa.publicKey) }), never)
  const messages = new Set<string>()
  const bad: Record<string, string> = {
    empty: '',
    'not a token': 'hello',
    'three dots': '...',
    'alg none': `${part({ alg: 'none' })}.${part(claims())}.`,
    'signed with the public key as an HMAC secret': hmac(claims(), { alg: 'HS256' }, pem(rsa.publicKey)),
    'RS256 by another key': asymmetric(
      claims(),
      'RS256',
      generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey,
    ),
    'ES256 where no such key is': asymmetric(claims(), 'ES256', ec.privateKey),
    HS512: hmac(claims(), { alg: 'HS512' }, jwtSecret, 'sha512'),
    'no exp': hmac({ sub: 'alice' }),
    'exp as text': hmac(claims({ exp: 'tomorrow' })),
    'no sub': hmac({ exp: now() + 60 }),
    'a sub that is no user id': hmac(claims({ sub: 'a:b' })),
    'a sub with a brace': hmac(claims({ sub: '{1}' })),
    'a sub that is no text': hmac(claims({ sub: 7 })),
    'nbf ahead': hmac(claims({ nbf: now() + 3_600 })),
    'expired a second ago': hmac(claims({ exp: now() - 1 })),
    'expired 31 s ago': hmac(claims({ exp: now() - 31 })),
    crit: hmac(claims(), { alg: 'HS256', crit: ['x'], x: 1 }),
    'a kid that is a path': hmac(claims(), { alg: 'HS256', kid: '../../etc/passwd' }, 'x'),
    'a jku': asymmetric(claims(), 'RS256', ec.privateKey, { jku: 'http://127.0.0.1:1/' }),
    'a changed payload': hmac(claims()).replace(/\.[^.]+\./, `.${part(claims({ sub: 'bob' }))}.`),
    '20 KiB': hmac(claims({ pad: 'x'.repeat(20_000) })),
  }
  for (const [name, token] of Object.entries(bad)) {
    try {
      await tokens.verify(token)
      t.fail(name)
    } catch (error) {
      t.match(error, { code: 'unauthenticated' }, name)
      messages.add((error as Error).message)
    }
  }
  t.equal(messages.size, 1)
})

t.test('what was decoded of one token decides nothing about the next', async (t) => {
  // The two push each other out of what is kept, so each is decoded every time.
  const tokens = createTokens(settings({ publicKey: pem(rsa.publicKey) }), never, 1)
  const good = [hmac(claims()), asymmetric(claims(), 'RS256', rsa.privateKey)]
  const bad = [
    `${part({ alg: 'none' })}.${part(claims())}.`,
    hmac(claims(), { alg: 'RS256' }),
    asymmetric(claims(), 'HS256', rsa.privateKey),
    hmac(claims(), { alg: 'HS512' }, jwtSecret, 'sha512'),
    `.${part(claims())}.x`,
    'no token at all',
  ]
  for (let round = 0; round < 2; round++) {
    for (const wrong of bad) {
      for (const right of good) t.match(await verify(tokens, right), { user: 'alice' })
      await t.rejects(verify(tokens, wrong), { code: 'unauthenticated' })
      await t.rejects(verify(tokens, wrong), { code: 'unauthenticated' })
    }
  }
})

t.test('a public key decides the algorithm: RS256, ES256, EdDSA', async (t) => {
  for (const [alg, pair] of [
    ['RS256', rsa],
    ['ES256', ec],
    ['EdDSA', ed],
  ] as const) {
    const tokens = createTokens(settings({ publicKey: pem(pair.publicKey) }), never)
    t.match(await verify(tokens, asymmetric(claims(), alg, pair.privateKey)), { user: 'alice' }, alg)
    t.match(await verify(tokens, hmac(claims())), { user: 'alice' }, 'our own go on beside it')
  }
  t.throws(() => createTokens(settings({ publicKey: 'not a key' }), never), { name: 'ConfigError' })
})

t.test('issuer and audience are required where they are set', async (t) => {
  const tokens = createTokens(
    settings({ publicKey: pem(ed.publicKey), issuer: 'https://id.example', audience: 'tidings' }),
    never,
  )
  const good = { iss: 'https://id.example', aud: 'tidings' }
  t.match(await verify(tokens, asymmetric(claims(good), 'EdDSA', ed.privateKey)), { user: 'alice' })
  for (const wrong of [{}, { ...good, iss: 'https://evil.example' }, { ...good, aud: 'other' }]) {
    await t.rejects(verify(tokens, asymmetric(claims(wrong), 'EdDSA', ed.privateKey)), { code: 'unauthenticated' })
  }
})

t.test('a JWKS document: keys by kid, and a provider that is away is no verdict', async (t) => {
  const keys = [
    { ...rsa.publicKey.export({ format: 'jwk' }), kid: 'r1', alg: 'RS256', use: 'sig' },
    { ...ed.publicKey.export({ format: 'jwk' }), kid: 'e1', alg: 'EdDSA', use: 'sig' },
  ]
  let up = true
  const server = createServer((_request, response) => {
    if (up) response.setHeader('content-type', 'application/json').end(JSON.stringify({ keys }))
    else response.writeHead(500).end()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  const jwksUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`
  const tokens = createTokens(settings({ jwksUrl }), never)
  t.match(await verify(tokens, asymmetric(claims(), 'RS256', rsa.privateKey, { kid: 'r1' })), { user: 'alice' })
  t.match(await verify(tokens, asymmetric(claims(), 'EdDSA', ed.privateKey, { kid: 'e1' })), { user: 'alice' })
  await t.rejects(verify(tokens, asymmetric(claims(), 'EdDSA', ed.privateKey, { kid: 'e2' })), {
    code: 'unauthenticated',
  })
  up = false
  const fresh = createTokens(settings({ jwksUrl }), never)
  await t.rejects(verify(fresh, asymmetric(claims(), 'EdDSA', ed.privateKey, { kid: 'e1' })), { code: 'unavailable' })
})

t.test('a kept verdict ends with the session', async (t) => {
  const revoked = new Set<string>()
  const tokens = createTokens(settings(), (id) => revoked.has(id))
  const token = hmac(claims({ iss: 'tidings', sid: 's9' }))
  await tokens.verify(token)
  t.notOk(tokens.verify(token) instanceof Promise, 'the second time it is known')
  revoked.add('s9')
  t.throws(() => tokens.verify(token), { code: 'unauthenticated' })
})

t.test('service tokens: in clear or as a digest', async (t) => {
  const secret = 'a-service-token-of-some-length'
  const digest = createHash('sha256').update(secret).digest('hex')
  for (const token of [secret, `sha256$${digest}`]) {
    const tokens = createTokens(
      settings({ serviceTokens: [{ name: 'backend', scopes: ['send', 'push'], token }] }),
      never,
    )
    const identity = await verify(tokens, secret)
    t.equal(identity.user, 'backend')
    t.same([...identity.scopes!], ['send', 'push'])
    await t.rejects(verify(tokens, `${secret}x`), { code: 'unauthenticated' })
  }
})
