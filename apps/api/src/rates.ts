/** Every rate limit of the API, in one table; how each of them counts is in rate.ts and tries.ts. */
import type { Identity } from '@tidings/accept'
import { AppError } from '@tidings/protocol'
import { networkOf } from '@tidings/service'
import { type Keys, loadScript, type Redis, scriptFile } from '@tidings/stream'
import { createLimit, type Limit, type Share } from './rate.js'
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

const script = loadScript(scriptFile('rates.lua', import.meta.url))

export function createRates(redis: Redis, keys: Keys, settings: RateSettings): Rates {
  const limit = (kind: string, perS: number, burst: number): Limit => {
    const share: Share = async (key, rate, taken) =>
      Number(await script.run(redis, [keys.rate(kind, key)], [rate.perS, rate.burst, taken]))
    return createLimit({ perS, burst }, share)
  }
  const perSecond = (kind: string, rate: number): Limit => limit(kind, rate, 2 * rate)
  const perMinute = (kind: string, rate: number): Limit => limit(kind, rate / 60, rate)
  const sends = perSecond('sends', settings.sendsPerS)
  const calls = perSecond('calls', settings.callsPerS)
  const services = perSecond('service', settings.servicePerS)
  const strangers = perSecond('address', settings.addressPerS)
  const logins = perMinute('logins', settings.loginsPerMin)
  const registers = perMinute('registers', settings.registersPerMin)
  const tries: Tries = createTries(redis, keys)
  const ofSends = (identity: Identity): Limit => (identity.scopes ? services : sends)

  return {
    call: (identity) => (identity.scopes ? services : calls).take(identity.user),
    sends: (identity, wanted) => ofSends(identity).takeUpTo(identity.user, wanted),
    refusal: (identity) => ofSends(identity).refusal(identity.user),
    send: (identity) => ofSends(identity).take(identity.user),
    pushes: (identity, wanted) => services.takeAll(identity.user, wanted),
    stranger: (address) => strangers.take(networkOf(address)),
    register: (address) => registers.take(networkOf(address)),
    async login(name, address, signIn) {
      const network = networkOf(address)
      logins.take(network)
      return tries.run(name, network, signIn)
    },
  }
}

/** Where nothing is limited. */
export const noRates: Rates = {
  call: () => undefined,
  sends: (_identity, wanted) => wanted,
  refusal: () => new AppError('rate_limited'),
  send: () => undefined,
  pushes: () => undefined,
  stranger: () => undefined,
  register: () => undefined,
  login: (_name, _address, signIn) => signIn(),
}
