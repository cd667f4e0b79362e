/**
 * Where people may send us. This is the polite refusal, so that a mistake shows at once; what a name stands for is checked when a worker
 * connects (task's outgoing.ts).
 */
import { isIP } from 'node:net'
import { AppError } from '@tidings/protocol'

const MOST_CHARACTERS = 1_024
const LOCAL_NAMES = /(^|\.)(localhost|local|internal|home\.arpa)\.?$/

/** @param name the field, for the message @returns the URL as it is stored @throws AppError `invalid_request` */
export function endpointOf(name: string, given: string, rules: { http: boolean; privateToo: boolean }): string {
  const refuse = (why: string): AppError => new AppError('invalid_request', `${name} ${why}.`)
  const url = URL.canParse(given) ? new URL(given) : undefined
  if (!url || !/^https?:$/.test(url.protocol)) throw refuse('is not an https URL')
  if (url.protocol === 'http:' && !rules.http) throw refuse('has to begin with https://')
  if (url.username !== '' || url.password !== '') throw refuse('may not hold a user or a password')
  url.hash = ''
  if (url.href.length > MOST_CHARACTERS) throw refuse(`has at most ${MOST_CHARACTERS} characters`)
  if (!rules.privateToo && !mayBePublic(url.hostname)) throw refuse('needs a host name that is reachable in public')
  return url.href
}

/** An address is none, however it is written: URL has brought it into its usual form. */
const mayBePublic = (host: string): boolean =>
  isIP(host.replace(/^\[|\]$/g, '')) === 0 && host.includes('.') && !LOCAL_NAMES.test(host)
