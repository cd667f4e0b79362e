/**
 * Who may operate: a request from a listed address, signed with a key over its method, path, body, time and nonce, seen for the first
 * time. The body is read and checked as bytes before anything of it is understood.
 */
import { Readable } from 'node:stream'
import { AppError } from '@tidings/protocol'
import {
  type AdminKey,
  createClientAddress,
  createNetworks,
  isSignatureOf,
  type Logger,
  SIGNED_HEADERS,
} from '@tidings/service'
import type {
  FastifyRequest,
  onRequestHookHandler,
  onResponseHookHandler,
  preParsingAsyncHookHandler,
  RequestPayload,
} from 'fastify'
import { pathOf } from '../problem.js'
import type { Rates } from '../rates.js'
import { createThrottle } from '../request-log.js'
import type { Nonces } from './nonces.js'

const TOLERANCE_MS = 5 * 60_000
const KEY = /^[A-Za-z0-9_.-]{1,64}$/
/** Milliseconds, or seconds as `date +%s` gives them. */
const TIMESTAMP = /^(?:\d{10}|\d{13})$/
const NONCE = /^[A-Za-z0-9_-]{16,64}$/
const SIGNATURE = /^[0-9a-f]{64}$/

export interface AdminGateDeps {
  keys: readonly AdminKey[]
  /** Networks from which operators may call, and those of the proxies in front; in CIDR notation. */
  addresses: readonly string[]
  trustProxy: readonly string[]
  nonces: Pick<Nonces, 'use'>
  rates: Pick<Rates, 'stranger'>
  log: Logger
  now?: () => number
}

/** The hooks of every route of operators, in the order in which they run. */
export interface AdminGate {
  onRequest: onRequestHookHandler
  preParsing: preParsingAsyncHookHandler
  onResponse: onResponseHookHandler
}

interface Shown {
  key: string
  timestamp: string
  nonce: string
  signature: string
}

export function createAdminGate({ log, nonces, rates, now = Date.now, ...given }: AdminGateDeps): AdminGate {
  const secrets = new Map(given.keys.map(({ name, secret }) => [name, secret]))
  const addressOf = createClientAddress(given.trustProxy)
  const isListed = createNetworks(given.addresses)
  const mayLog = createThrottle()

  const callerOf = ({ raw, headers }: FastifyRequest): string =>
    addressOf(raw.socket.remoteAddress ?? '', String(headers['x-forwarded-for'] ?? ''))

  /** @returns the refusal, which has counted against the address; or that there were too many of them */
  function refused(request: FastifyRequest, error: AppError): Error {
    const silent = mayLog()
    if (silent !== undefined) {
      const { method, url, headers } = request
      const key = KEY.exec(String(headers[SIGNED_HEADERS.key]))?.[0]
      log.warn(
        { code: error.code, address: callerOf(request), key, method, path: pathOf(url), silent },
        'an operator was refused',
      )
    }
    try {
      // Whoever shows no token was counted as a stranger when the request came.
      if (request.headers.authorization !== undefined) rates.stranger(callerOf(request))
    } catch (limited) {
      return limited as Error
    }
    return error
  }

  function admitAddress(request: FastifyRequest): void {
    if (secrets.size === 0) throw new AppError('admin_off', 'Set TIDINGS_ADMIN_KEYS to call this.')
    if (isListed(callerOf(request))) return
    throw new AppError('address_not_allowed', 'This address is not in TIDINGS_ADMIN_ADDRESSES.')
  }

  async function admitSignature(request: FastifyRequest, body: Uint8Array): Promise<string> {
    const { key, timestamp, nonce, signature } = shownBy(request)
    const at = Number(timestamp) * (timestamp.length === 10 ? 1_000 : 1)
    const serverTime = now()
    if (Math.abs(serverTime - at) > TOLERANCE_MS) {
      const message = `${SIGNED_HEADERS.timestamp} is more than five minutes off. Compare the clocks.`
      throw new AppError('signature_expired', message, { details: { serverTime } })
    }
    const signed = { method: request.method, target: request.raw.url ?? '', body, timestamp, nonce }
    const secret = secrets.get(key)
    // A key that is not known is compared with as much work, and refused with the same words.
    const right = isSignatureOf(secret ?? '-', signed, signature)
    if (secret === undefined || !right) {
      throw new AppError(
        'signature_invalid',
        'The key is not known, or the signature is not that of this very request.',
      )
    }
    if (!(await nonces.use(key, nonce))) {
      throw new AppError('signature_replayed', 'A request with this nonce was sent before. Sign a new one.')
    }
    return key
  }

  return {
    onRequest(request, _reply, done) {
      try {
        admitAddress(request)
        // Before the body is read: what is not signed at all is not worth it.
        shownBy(request)
      } catch (error) {
        done(refused(request, error as AppError))
        return
      }
      done()
    },
    async preParsing(request, reply, payload) {
      const body = await readAll(payload, request.routeOptions.bodyLimit ?? 0).catch((error: unknown) => {
        // The rest of it would be taken for another request.
        reply.header('connection', 'close')
        throw error
      })
      try {
        request.operator = await admitSignature(request, body)
      } catch (error) {
        const isAway = error instanceof AppError && error.code === 'unavailable'
        throw isAway ? error : refused(request, error as AppError)
      }
      return Readable.from(body.length > 0 ? [body] : [])
    },
    onResponse(request, reply, done) {
      const { operator, method, routeOptions } = request
      const changes = method !== 'GET' && method !== 'HEAD'
      if (operator !== '' && (changes || routeOptions.config.audited)) {
        const facts = { key: operator, address: callerOf(request), method, path: pathOf(request.url) }
        log.info({ ...facts, status: reply.statusCode, reqId: request.id }, 'an operator called')
      }
      done()
    },
  }
}

/** @throws AppError `signature_required` when a header is missing, or is there twice, or is not of its form */
function shownBy({ headers }: FastifyRequest): Shown {
  const take = (name: keyof typeof SIGNED_HEADERS, form: RegExp): string => {
    const value = headers[SIGNED_HEADERS[name]]
    if (typeof value === 'string' && form.test(value)) return value
    throw new AppError('signature_required', `The header ${SIGNED_HEADERS[name]} is missing or not of its form.`)
  }
  return {
    key: take('key', KEY),
    timestamp: take('timestamp', TIMESTAMP),
    nonce: take('nonce', NONCE),
    signature: take('signature', SIGNATURE),
  }
}

/** Not by `for await`: leaving that early would cut the socket before the refusal is written. @throws AppError `payload_too_large` */
function readAll(payload: RequestPayload, limit: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let length = 0
    function onData(chunk: Buffer): void {
      length += chunk.length
      if (length > limit) {
        end()
        reject(new AppError('payload_too_large', 'The body is larger than this call takes.'))
      } else chunks.push(chunk)
    }
    function onEnd(): void {
      end()
      resolve(Buffer.concat(chunks, length))
    }
    function onError(cause: Error): void {
      end()
      reject(new AppError('invalid_request', 'The body ended too early.', { cause }))
    }
    function end(): void {
      payload.off('data', onData).off('end', onEnd).off('error', onError)
    }
    payload.on('data', onData).on('end', onEnd).on('error', onError)
    payload.resume()
  })
}
