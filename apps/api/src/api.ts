/** What the parts of this app share: the needs of its routes, its bounds, and the type of the server. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type {
  AcceptedAt,
  Draft,
  Flagged,
  Identity,
  LogicClient,
  PushAcceptor,
  SeenUsers,
  Tickets,
  Tokens,
} from '@tidings/accept'
import type { LiveConfig } from '@tidings/registry'
import type { AdminKey, Logger, MetricsRegistry, Tracing } from '@tidings/service'
import type { FastifyBaseLogger, FastifyInstance, RawServerDefault } from 'fastify'
import type { Cluster } from './admin/cluster.js'
import type { DeadLetters } from './admin/dead.js'
import type { Nonces } from './admin/nonces.js'
import type { WordListStore } from './admin/word-list.js'
import type { EventLoop } from './event-loop.js'
import type { Exports } from './exports.js'
import type { Blobs } from './files/blobs.js'
import type { Persisted } from './persisted.js'
import type { Rates } from './rates.js'

export type Api = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  TypeBoxTypeProvider
>

/** The calls of logic that this app makes. */
export type LogicCalls = Pick<
  LogicClient,
  | 'register'
  | 'login'
  | 'refresh'
  | 'logout'
  | 'getUser'
  | 'updateUser'
  | 'deleteUser'
  | 'block'
  | 'unblock'
  | 'listBlocks'
  | 'listConversations'
  | 'setFlags'
  | 'readHistory'
  | 'readAccount'
  | 'readLeftRooms'
  | 'searchMessages'
  | 'ack'
  | 'read'
  | 'readOffline'
  | 'createRoom'
  | 'searchRooms'
  | 'getRoom'
  | 'updateRoom'
  | 'deleteRoom'
  | 'joinRoom'
  | 'leaveRoom'
  | 'listMembers'
  | 'addMembers'
  | 'setMember'
  | 'removeMember'
  | 'listBans'
  | 'ban'
  | 'unban'
  | 'presence'
  | 'getMessage'
  | 'beginFile'
  | 'storeFile'
  | 'dropFile'
  | 'openFile'
  | 'deleteFile'
  | 'deletedFiles'
  | 'forgetFiles'
  | 'createWebhook'
  | 'listWebhooks'
  | 'updateWebhook'
  | 'deleteWebhook'
  | 'listDeadDeliveries'
  | 'retryDeliveries'
  | 'putPushSubscription'
  | 'listPushSubscriptions'
  | 'deletePushSubscription'
  | 'authorizeChange'
  | 'makeUser'
  | 'setUserDisabled'
  | 'inspectUser'
  | 'listSessions'
  | 'endSessions'
  | 'listDevices'
  | 'removeDevice'
  | 'inspectMessage'
>

export interface ApiSettings {
  jwtSecret: string
  accessTokenS: number
  origins: readonly string[]
  trustProxy: readonly string[]
  /** None: there are no calls for operators. */
  adminKeys: readonly AdminKey[]
  adminAddresses: readonly string[]
  /** Undefined: there is no Web Push. */
  vapidPublicKey: string | undefined
}

/** Bounds of the server. Times are in milliseconds. */
export interface ApiLimits {
  /** From the first byte of a request to its last; uploads have their own. */
  requestMs: number
  headersMs: number
  keepAliveMs: number
  /** A socket on which nothing moves. */
  socketIdleMs: number
  /** How often the times of requests, headers and uploads are checked. */
  checkEveryMs: number
  /** Requests in work from which on new ones are shed. */
  inFlight: number
  /** Delay of the event loop, p99, above which new ones are shed, */
  loopDelayMs: number
  /** as long as so many are in work: fewer are not what delays it, and shedding them would not help. */
  loopDelayInFlight: number
  connections: number
  /** How long the sender of an upload may be waited for in any case, */
  uploadGraceMs: number
  /** and beyond that as long as so many bytes come in a second. */
  uploadBytesPerS: number
  /** Slower answers are logged. */
  slowMs: number
}

export const LIMITS: ApiLimits = {
  requestMs: 15_000,
  headersMs: 10_000,
  keepAliveMs: 65_000,
  socketIdleMs: 70_000,
  checkEveryMs: 1_000,
  inFlight: 1_000,
  loopDelayMs: 200,
  loopDelayInFlight: 16,
  connections: 10_000,
  uploadGraceMs: 20_000,
  uploadBytesPerS: 4_096,
  slowMs: 1_000,
}

/** What may be uploaded, and where it goes. */
export interface FileSettings {
  blobs: Blobs
  maxBytes: number
  /** Media types, with * for all of a part. */
  types: readonly string[]
  /** How long an upload may take. */
  uploadMs: number
}

export interface ApiDeps {
  settings: ApiSettings
  limits?: Partial<ApiLimits>
  logic: LogicCalls
  tokens: Tokens
  seenUsers: Pick<SeenUsers, 'check'>
  rates: Rates
  tickets: Pick<Tickets, 'issue'>
  acceptor: { accept(draft: Draft): Promise<AcceptedAt> }
  pushes: PushAcceptor
  persisted: Pick<Persisted, 'wait'>
  nonces: Pick<Nonces, 'use'>
  cluster: Cluster
  words: WordListStore
  flagged: Pick<Flagged, 'list'>
  exports: Exports
  letters: DeadLetters
  limitsInEtcd: LiveConfig
  eventLoop: Pick<EventLoop, 'p95Ms'>
  files: FileSettings
  /** Has a session ended? */
  isRevoked(session: string): boolean
  log: Logger
  metrics: MetricsRegistry
  tracing: Tracing
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Set by `authenticate`; there is none on routes without it. */
    identity: Identity
    /** The key that signed it, on the routes of operators; else empty. */
    operator: string
    /** The raw text of each member of a JSON object body. */
    members: Map<string, string>
    /** The whole body as text, on routes with `body: 'batch'`. */
    text: string
  }
  interface FastifyContextConfig {
    /** How the body is cut; by default into its members. */
    body?: 'message' | 'batch'
    /** It counts as what it sends, and not as a call. */
    sends?: true
    /** Answered however much is in work: acks, reads, and what was accepted already. The bound on connections holds for it. */
    neverShed?: true
    /** How long it takes says nothing about the server: it is not logged as slow. */
    takesLong?: true
    /** A call of operators that leaves a line in the log though it changes nothing. */
    audited?: true
  }
}
