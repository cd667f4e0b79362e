/** The types of settings: each reads one kind of value from the text of a variable, or says what is wrong with it. */
import { makeExactValidator, makeValidator } from 'envalid'
import { isNetwork } from './address.js'
import { parseRedisUrl } from './redis-url.js'

/** Thrown by a parser below; readEnv puts the variable and its value in front. */
const wrong = (fix: string): Error => new Error(`cannot be used: ${fix}`)

export const int = (min: number, max: number) =>
  makeExactValidator<number>((text) => {
    const value = /^-?\d{1,15}$/.test(text) ? Number(text) : Number.NaN
    if (!(value >= min && value <= max)) throw wrong(`give a whole number from ${min} to ${max}.`)
    return value
  })

export const port = int(0, 65_535)

export const oneOf = <const C extends readonly string[]>(...choices: C) =>
  makeExactValidator<C[number]>((text) => {
    if (!choices.includes(text)) throw wrong(`give one of ${choices.join(', ')}.`)
    return text as C[number]
  })

export const url = (...protocols: string[]) =>
  makeExactValidator<string>((text) => {
    const parsed = URL.canParse(text) ? new URL(text) : undefined
    if (!parsed || !protocols.includes(parsed.protocol)) {
      throw wrong(`give a URL that starts with ${protocols.map((p) => `${p}//`).join(' or ')}.`)
    }
    return text
  })

export const redisUrl = makeExactValidator<string>((text) => {
  if (!parseRedisUrl(text)) {
    throw wrong(
      'give redis://host:port, redis+sentinel://host:port,host:port/name or redis+cluster://host:port,host:port (rediss for TLS).',
    )
  }
  return text
})

export const matching = (pattern: RegExp, fix: string) =>
  makeExactValidator<string>((text) => {
    if (!pattern.test(text)) throw wrong(fix)
    return text
  })

export const list = (pattern: RegExp, fix: string) =>
  makeExactValidator<string[]>((text) => {
    const items = text.split(',').map((item) => item.trim())
    for (const item of items) if (!pattern.test(item)) throw wrong(fix)
    return items
  })

export const text = makeValidator<string>((given) => given)

const WEAK_SECRETS = new Set(['secret', 'changeme', 'password', 'tidings'])
export const secret = makeExactValidator<string>((given) => {
  if (WEAK_SECRETS.has(given.toLowerCase()) || Buffer.byteLength(given) < 32) {
    throw wrong('give at least 32 random bytes, for example from "openssl rand -hex 32".')
  }
  return given
})

/** A server of a team, known by a token: what it is called, what it may do, and the SHA-256 of its token in hex. */
export interface ServiceToken {
  name: string
  scopes: readonly string[]
  /** The token in clear, or `sha256$<hex>`. */
  token: string
}
const SCOPES = new Set(['send', 'push', 'admin', 'read'])
export const serviceTokens = makeExactValidator<ServiceToken[]>((given) =>
  given.split(',').map((item) => {
    const match = /^([A-Za-z0-9_.-]{1,64}):([a-z+]+):(\S{16,})$/.exec(item.trim())
    const scopes = match?.[2]?.split('+') ?? []
    if (!match || scopes.some((scope) => !SCOPES.has(scope))) {
      throw wrong(
        'give name:scope+scope:token, with scopes of send, push, admin, read and a token of 16 characters or more.',
      )
    }
    // What it pushes is from service:<name>, and a sender has 64 characters.
    if (scopes.includes('push') && match[1]!.length > 56)
      throw wrong('give a token that may push a name of up to 56 characters.')
    return { name: match[1]!, scopes, token: match[3]! }
  }),
)

/** Who may call /admin: the secret that signs the requests, by a name for the log. */
export interface AdminKey {
  name: string
  secret: string
}
export const adminKeys = makeExactValidator<AdminKey[]>((given) => {
  const fix =
    'give name:secret,..., each name once, each secret of at least 32 random bytes, for example from "openssl rand -hex 32".'
  const keys = given.split(',').map((item) => {
    const [, name, value] = /^([A-Za-z0-9_.-]{1,64}):(\S+)$/.exec(item.trim()) ?? []
    if (name === undefined || value === undefined || Buffer.byteLength(value) < 32) throw wrong(fix)
    return { name, secret: value }
  })
  if (new Set(keys.map(({ name }) => name)).size < keys.length) throw wrong(fix)
  return keys
})

export const networks = (fix: string) =>
  makeExactValidator<string[]>((text) => {
    const items = text.split(',').map((item) => item.trim())
    if (!items.every(isNetwork)) throw wrong(fix)
    return items
  })
