/** The one place that knows gRPC: servers and clients with our errors, a deadline on every call, and a shared secret. */
import { createHmac, timingSafeEqual } from 'node:crypto'
import {
  type CallContext,
  type CallOptions,
  type Client,
  ClientError,
  type ClientMiddlewareCall,
  type CompatServiceDefinition,
  createChannel,
  createClientFactory,
  createServer,
  Metadata,
  ServerError,
  type ServerMiddlewareCall,
  type ServiceImplementation,
  Status,
} from 'nice-grpc'
import { AppError, errorTable, isErrorCode, toAppError } from './errors.js'

/** Header of a failed call that carries our own error, so that the other side throws the same. */
const ERROR_HEADER = 'tidings-error-bin'
const AUTH_HEADER = 'authorization'
const MAX_MESSAGE_BYTES = 16 * 1024 * 1024

const CHANNEL_OPTIONS = {
  'grpc.keepalive_time_ms': 10_000,
  'grpc.keepalive_timeout_ms': 5_000,
  'grpc.initial_reconnect_backoff_ms': 100,
  // nice-grpc reads it as the time that one attempt to connect may take.
  'grpc.min_reconnect_backoff_ms': 2_000,
  'grpc.max_reconnect_backoff_ms': 1_000,
  'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
  'grpc.max_send_message_length': MAX_MESSAGE_BYTES,
}
const SERVER_OPTIONS = {
  'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
  'grpc.max_send_message_length': MAX_MESSAGE_BYTES,
  // Below our clients' keepalive, or the server answers their pings with GOAWAY.
  'grpc.http2.min_ping_interval_without_data_ms': 5_000,
}

/** The token that our own processes show each other: derived, so that the secret itself is on no wire. */
export const rpcToken = (jwtSecret: string): string =>
  createHmac('sha256', jwtSecret).update('tidings internal rpc v1').digest('base64url')

function sameToken(a: string, b: string): boolean {
  const left = Buffer.from(a)
  const right = Buffer.from(b)
  return left.length === right.length && timingSafeEqual(left, right)
}

export interface RpcServer {
  /** host:port as others reach it. */
  address: string
  /** Refuses new calls, waits a moment for the running ones, then cuts. */
  stop(): Promise<void>
}

export interface ServedService<D extends CompatServiceDefinition> {
  definition: D
  implementation: ServiceImplementation<D>
}

/** Pairs a definition with its implementation, type-checked. */
export const serve = <D extends CompatServiceDefinition>(
  definition: D,
  implementation: ServiceImplementation<D>,
): ServedService<D> => ({ definition, implementation })

/**
 * @param token what callers must show (see `rpcToken`)
 * @param onInternalError told of every error that is not an AppError, once, with its method's path
 */
export async function startRpcServer(options: {
  host: string
  port: number
  token: string
  // biome-ignore lint/suspicious/noExplicitAny: services of different definitions stand in one list; `serve` has checked each.
  services: ServedService<any>[]
  onInternalError: (path: string, error: unknown) => void
}): Promise<RpcServer> {
  async function* errorsAndAuth<Request, Response>(
    call: ServerMiddlewareCall<Request, Response>,
    context: CallContext,
  ): AsyncGenerator<Response, Response | void, undefined> {
    try {
      if (!sameToken(context.metadata.get(AUTH_HEADER) ?? '', options.token)) {
        throw new AppError('unauthenticated', 'This call is for the processes of the same instance.')
      }
      return yield* call.next(call.request, context)
    } catch (thrown) {
      if (thrown instanceof ServerError || (thrown instanceof Error && thrown.name === 'AbortError')) throw thrown
      const error = toAppError(thrown)
      if (error.code === 'internal') options.onInternalError(call.method.path, error.cause ?? error)
      context.trailer.set(ERROR_HEADER, encodeError(error))
      throw new ServerError(errorTable[error.code].grpc as Status, error.message)
    }
  }
  const server = createServer(SERVER_OPTIONS).use(errorsAndAuth)
  for (const { definition, implementation } of options.services) server.add(definition, implementation)
  const port = await server.listen(`${options.host}:${options.port}`)
  return {
    address: `${options.host}:${port}`,
    async stop() {
      const cut = setTimeout(() => server.forceShutdown(), 500)
      await server.shutdown()
      clearTimeout(cut)
    },
  }
}

const encodeError = ({ code, message, details, retryAfter }: AppError): Uint8Array =>
  Buffer.from(JSON.stringify({ code, message, details, retryAfter }))

function decodeError(trailer: Metadata | undefined): AppError | undefined {
  const bytes = trailer?.get(ERROR_HEADER)
  if (!bytes) return undefined
  const { code, message, ...rest } = JSON.parse(Buffer.from(bytes).toString()) as Record<string, unknown>
  if (typeof code !== 'string' || !isErrorCode(code)) return undefined
  return new AppError(code, String(message), rest)
}

export interface RpcOptions {
  /** Milliseconds until a call gives up. */
  deadlineMs?: number
}

/** What the transport said when the other side itself said nothing. */
class TransportError extends AppError {}

async function* deadlineAuthAndErrors<Request, Response>(
  call: ClientMiddlewareCall<Request, Response>,
  options: CallOptions & RpcOptions & { token?: string },
): AsyncGenerator<Response, Response | void, undefined> {
  let trailer: Metadata | undefined
  const { deadlineMs, token, signal: outer, ...rest } = options
  const aborter = new AbortController()
  const timer = deadlineMs === undefined ? undefined : setTimeout(() => aborter.abort(), deadlineMs)
  const signal = outer ? AbortSignal.any([outer, aborter.signal]) : aborter.signal
  try {
    return yield* call.next(call.request, {
      ...rest,
      signal,
      metadata: Metadata(rest.metadata).set(AUTH_HEADER, token ?? ''),
      onTrailer: (given) => {
        trailer = given
      },
    })
  } catch (thrown) {
    if (aborter.signal.aborted) {
      throw new TransportError('unavailable', 'A part of the service did not answer in time. Try again shortly.', {
        // Its name inside is for the log alone.
        cause: new Error(`${call.method.path} did not answer in time`, { cause: thrown }),
        retryAfter: 1,
      })
    }
    if (!(thrown instanceof ClientError)) throw thrown
    const ours = decodeError(trailer)
    if (ours) throw ours
    if (thrown.code === Status.UNAVAILABLE || thrown.code === Status.CANCELLED) {
      throw new TransportError('unavailable', `${call.method.path} cannot be reached.`, {
        cause: thrown,
        retryAfter: 1,
      })
    }
    throw new AppError('internal', `${call.method.path} failed: ${thrown.details}`, { cause: thrown })
  } finally {
    clearTimeout(timer)
  }
}

export interface RpcClient<D extends CompatServiceDefinition> {
  client: Client<D, RpcOptions>
  close(): void
}

/** A client of one process. Unary calls have `deadlineMs`; streams live until closed. */
export function connectRpc<D extends CompatServiceDefinition>(
  definition: D,
  address: string,
  token: string,
): RpcClient<D> {
  const channel = createChannel(address, undefined, CHANNEL_OPTIONS)
  const client = createClientFactory()
    .use(deadlineAuthAndErrors)
    .create(definition, channel, { '*': { token } as RpcOptions })
  return { client: client as unknown as Client<D, RpcOptions>, close: () => channel.close() }
}

interface Target<D extends CompatServiceDefinition> {
  rpc: RpcClient<D>
  /** performance.now() until which others are preferred, after it failed to answer. */
  avoidUntil: number
}

/** How long a process that did not answer is left alone while others do. */
const AVOID_MS = 1_000

export interface Balanced<D extends CompatServiceDefinition> {
  client: Client<D, RpcOptions>
  /** The processes there are now; others are dropped. */
  setAddresses(addresses: readonly string[]): void
  close(): void
}

/**
 * Unary calls spread round robin over the processes that the registry lists. One that cannot be reached is avoided at once, and
 * a call that may safely run twice goes on to the next one.
 * @param repeatable names of the methods that may run twice
 * @throws from calls: AppError `unavailable` when nobody answers
 */
export function balance<D extends CompatServiceDefinition>(
  definition: D,
  options: { token: string; deadlineMs: number; repeatable: ReadonlySet<string> },
): Balanced<D> {
  const targets = new Map<string, Target<D>>()
  let next = 0

  function inOrder(): Target<D>[] {
    const all = [...targets.values()]
    const start = all.length === 0 ? 0 : next++ % all.length
    const rotated = [...all.slice(start), ...all.slice(0, start)]
    const now = performance.now()
    return [...rotated.filter((t) => t.avoidUntil <= now), ...rotated.filter((t) => t.avoidUntil > now)]
  }

  async function invoke(method: string, request: unknown, callOptions: CallOptions & RpcOptions): Promise<unknown> {
    let failure: unknown
    for (const target of inOrder()) {
      const call = (target.rpc.client as Record<string, (request: unknown, options: RpcOptions) => Promise<unknown>>)[
        method
      ]
      try {
        return await call?.(request, { deadlineMs: options.deadlineMs, ...callOptions })
      } catch (thrown) {
        if (!(thrown instanceof TransportError)) throw thrown
        target.avoidUntil = performance.now() + AVOID_MS
        failure = thrown
        if (!options.repeatable.has(method)) break
      }
    }
    if (failure !== undefined) throw failure
    const cause = new Error(`no process offers ${method}`)
    throw new AppError('unavailable', 'A part of the service is away. Try again shortly.', { cause, retryAfter: 1 })
  }

  const client: Record<string, unknown> = {}
  for (const method of Object.keys((definition as { methods: object }).methods)) {
    client[method] = (request: unknown, callOptions: CallOptions & RpcOptions = {}) =>
      invoke(method, request, callOptions)
  }
  return {
    client: client as unknown as Client<D, RpcOptions>,
    setAddresses(addresses) {
      for (const address of addresses) {
        if (!targets.has(address))
          targets.set(address, { rpc: connectRpc(definition, address, options.token), avoidUntil: 0 })
      }
      for (const [address, target] of targets) {
        if (addresses.includes(address)) continue
        targets.delete(address)
        target.rpc.close()
      }
    },
    close() {
      for (const target of targets.values()) target.rpc.close()
      targets.clear()
    },
  }
}
