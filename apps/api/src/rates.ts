/** Every rate limit of the API, in one table; how each of them counts is in accept's rate.ts and in tries.ts. */
import { createSharedLimit, type Identity, type Limit, perSecond } from '@tidings/accept'
import { AppError } from '@tidings/protocol'
import { networkOf } from '@tidings/service'
import type { Keys, Redis } from '@tidings/stream'
import { createTries, type Tries } from './tries.js'

export interface RateSettings {
  sendsPerS: number
  callsPerS: number
  servicePerS: number
  addressPerS: number
  loginsPerMin: number
  registersPerMin: number
}

export interface Rates {
  /** Those in force; undefined where nothing is limited. */
  readonly settings: RateSettings | undefined
  /** A call with a valid token that sends nothing. @throws AppError `rate_limited` */
  call(identity: Identity): void
  /** @returns how many of so many messages may be sent now */
  sends(identity: Identity, wanted: number): number
  /** @returns the error for a message that is one too many */
  refusal(identity: Identity): AppError
  /** One message. @throws AppError `rate_limited` */
  send(identity: Identity): void
  /** So many notifications of one push, or none. @throws AppError `rate_limited` */
  pushes(identity: Identity, wanted: number): void
  /** A call without a valid token. @throws AppError `rate_limited` */
  stranger(address: string): void
  /** @throws AppError `rate_limited` */
  register(address: string): void
  /** @throws AppError `rate_limited` without signing in; else what `signIn` throws */
  login<T>(name: string, address: string, signIn: () => Promise<T>): Promise<T>
}

/** Rates that may be replaced while they are in use. */
export interface LiveRates extends Rates {
  /** From now on these hold; what was taken so far stays taken. */
  set(settings: RateSettings): void
}

export function createRates(redis: Redis, keys: Keys, first: RateSettings): LiveRates {
  const everySecond = (kind: string, rate: number): Limit => createSharedLimit(redis, keys, kind, perSecond(rate))
  const everyMinute = (kind: string, rate: number): Limit =>
    createSharedLimit(redis, keys, kind, { perS: rate / 60, burst: rate })
  const tries: Tries = createTries(redis, keys)
  const limitsOf = (settings: RateSettings) => ({
    sends: everySecond('sends', settings.sendsPerS),
    calls: everySecond('calls', settings.callsPerS),
    services: everySecond('service', settings.servicePerS),
    strangers: everySecond('address', settings.addressPerS),
    logins: everyMinute('logins', settings.loginsPerMin),
    registers: everyMinute('registers', settings.registersPerMin),
  })
  let limits = limitsOf(first)
  let inForce = first
  const ofSends = (identity: Identity): Limit => (identity.scopes ? limits.services : limits.sends)

  return {
    set(settings) {
      const same = (Object.keys(settings) as (keyof RateSettings)[]).every((name) => settings[name] === inForce[name])
      if (same) return
      inForce = settings
      limits = limitsOf(settings)
    },
    get settings() {
      return inForce
    },
    call: (identity) => (identity.scopes ? limits.services : limits.calls).take(identity.user),
    sends: (identity, wanted) => ofSends(identity).takeUpTo(identity.user, wanted),
    refusal: (identity) => ofSends(identity).refusal(identity.user),
    send: (identity) => ofSends(identity).take(identity.user),
    pushes: (identity, wanted) => limits.services.takeAll(identity.user, wanted),
    stranger: (address) => limits.strangers.take(networkOf(address)),
    register: (address) => limits.registers.take(networkOf(address)),
    async login(name, address, signIn) {
      const network = networkOf(address)
      limits.logins.take(network)
      return tries.run(name, network, signIn)
    },
  }
}

/** Where nothing is limited. */
export const noRates: Rates = {
  settings: undefined,
  call: () => undefined,
  sends: (_identity, wanted) => wanted,
  refusal: () => new AppError('rate_limited'),
  send: () => undefined,
  pushes: () => undefined,
  stranger: () => undefined,
  register: () => undefined,
  login: (_name, _address, signIn) => signIn(),
}
