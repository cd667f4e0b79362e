/** The edge alone: the parts behind it are small objects that remember their calls and answer as they are told. */
import { createHmac } from 'node:crypto'
import type { AddressInfo } from 'node:net'
import {
  type Accepted,
  createSeenUsers,
  createTokens,
  type Draft,
  type FlaggedMessage,
  type Identity,
  type Push,
  type PushedUsers,
} from '@tidings/accept'
import { AppError, type logicRpc } from '@tidings/protocol'
import {
  type AdminKey,
  createLogger,
  createMetrics,
  type MetricsRegistry,
  noTracing,
  signedHeaders,
  type Tracing,
} from '@tidings/service'
import type { Response as Injected, InjectOptions } from 'light-my-request'
import type { Test } from 'tap'
import type { Cluster } from '../src/admin/cluster.js'
import type { DeadLetters } from '../src/admin/dead.js'
import {
  type Api,
  type ApiLimits,
  buildApp,
  type Exports,
  type FileSettings,
  noRates,
  type Rates,
} from '../src/index.js'

export const SECRET = 'a secret of the tests, longer than 32 bytes'
export const SEND_TOKEN = 'service-token-with-send'
/** Signs the calls of operators. */
export const ADMIN = { name: 'ops', secret: 'the secret of an operator, longer than 32 bytes' }
export const READ_TOKEN = 'service-token-with-read'
export const PUSH_TOKEN = 'service-token-with-push'
export const ADMIN_TOKEN = 'service-token-with-admin'

const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')

/** A JWT as a team's own backend would make it. */
export function mint(claims: Record<string, unknown>, header: Record<string, unknown> = { alg: 'HS256' }): string {
  const signed = `${encode(header)}.${encode(claims)}`
  return `${signed}.${createHmac('sha256', SECRET).update(signed).digest('base64url')}`
}

export const tokenOf = (sub: string, over: Record<string, unknown> = {}): string =>
  mint({ sub, exp: Math.floor(Date.now() / 1_000) + 600, ...over })

export interface Reply {
  status: number
  headers: Injected['headers']
  text: string
  // biome-ignore lint/suspicious/noExplicitAny: tests look into whatever came
  body: any
}

export interface CallOptions {
  /** A user's name, or false for no token. */
  as?: string | false
  token?: string
  /** An object is written as JSON; text and bytes go as they are. */
  body?: unknown
  headers?: Record<string, string>
  /** The other end of the socket. */
  peer?: string
}

/** A call of an operator: what is sent may differ from what was signed. */
export interface AdminCall extends CallOptions {
  key?: AdminKey
  signed?: { method?: string; target?: string; body?: string; at?: number }
}

export interface WorldOptions {
  origins?: string[]
  trustProxy?: string[]
  adminKeys?: AdminKey[]
  adminAddresses?: string[]
  limits?: Partial<ApiLimits>
  uploadMs?: number
  rates?: Partial<Rates>
  tracing?: Tracing
  exports?: Exports
}

export interface World {
  app: Api
  /** Drafts in the order in which accept was called. */
  drafts: Draft[]
  /** What was pushed, to whom. */
  pushed: [to: readonly string[] | string, push: Push][]
  /** Calls of logic, `method` with what it was asked. */
  calls: [method: string, request: Record<string, unknown>][]
  ticketed: Identity[]
  /** The bytes of what was uploaded. */
  uploaded: Buffer[]
  /** Sessions that count as revoked. */
  revoked: Set<string>
  metrics: MetricsRegistry
  /** What the watch of the event loop says. */
  eventLoop: { p95Ms: number }
  /** The lines of the log. */
  lines: Record<string, unknown>[]
  /** What the parts behind do; a test replaces what it needs. */
  behind: {
    accept(draft: Draft): Promise<Accepted>
    pushToUsers(users: readonly string[]): Promise<PushedUsers>
    persisted(withinMs: number): Promise<boolean>
    seeUser(user: string): Promise<void>
    grant(): logicRpc.Grant
    getUser(user: string): Promise<logicRpc.User>
    listBlocks(): logicRpc.ListBlocksResponse
    listConversations(): logicRpc.ListConversationsResponse
    setFlags(): logicRpc.ConversationFlags
    searchMessages(): logicRpc.SearchMessagesResponse
    readAccount(): logicRpc.ReadAccountResponse
    readLeftRooms(request: logicRpc.ReadLeftRoomsRequest): logicRpc.ReadLeftRoomsResponse
    readHistory(): logicRpc.ReadHistoryResponse
    readOffline(): logicRpc.ReadOfflineResponse
    presence(): logicRpc.PresenceResponse
    getMessage(): logicRpc.GetMessageResponse
    authorizeChange(): logicRpc.AuthorizeChangeResponse
    move(): void
    room(): logicRpc.Room
    member(): logicRpc.Member
    searchRooms(): logicRpc.SearchRoomsResponse
    listMembers(): logicRpc.ListMembersResponse
    listBans(): logicRpc.ListBansResponse
    changeRoom(): void
    nonce(): void
    writeWords(text: string): number
    flagged(before: string | undefined, limit: number): FlaggedMessage[]
    nodes(): Awaited<ReturnType<Cluster['nodes']>>
    partitions(): Awaited<ReturnType<Cluster['partitions']>>
    letters(): Awaited<ReturnType<DeadLetters['list']>>
    requeue(): string | undefined
    drop(): boolean
    inspectUser(): logicRpc.InspectUserResponse
    inspectMessage(): logicRpc.InspectMessageResponse
    listSessions(): logicRpc.ListSessionsResponse
    listDevices(): logicRpc.ListDevicesResponse
    /** What etcd holds of the limits. */
    limits: string | undefined
  }
  call(method: string, path: string, options?: CallOptions): Promise<Reply>
  /** A signed call. */
  admin(method: string, path: string, options?: AdminCall): Promise<Reply>
  /** POST /messages as alice. */
  send(body: unknown, options?: CallOptions): Promise<Reply>
  /** Listens on a free port of this machine. */
  listen(): Promise<number>
}

export async function world(t: Test, options: WorldOptions = {}): Promise<World> {
  const lines: World['lines'] = []
  const log = createLogger(
    { app: 'api', instance: 'test', level: 'debug' },
    { write: (line) => void lines.push(JSON.parse(line) as Record<string, unknown>) },
  )
  const drafts: Draft[] = []
  const pushed: World['pushed'] = []
  const calls: World['calls'] = []
  const ticketed: Identity[] = []
  const uploaded: Buffer[] = []
  const revoked = new Set<string>()
  const behind: World['behind'] = {
    accept: async ({ conversation }) => ({
      id: '7',
      conversation,
      seq: drafts.length,
      sentAt: 1_000,
      duplicate: false,
    }),
    pushToUsers: async (users) => ({ accepted: users.length, duplicates: 0, refused: [] }),
    persisted: async () => true,
    seeUser: async () => {},
    grant: () => ({ user: userNamed('alice'), sessionId: 'session-1', refreshToken: 'refresh-1' }),
    getUser: async (user) => userNamed(user),
    listBlocks: () => ({ users: [], nextCursor: '' }),
    listConversations: () => ({ conversations: [], nextCursor: '' }),
    setFlags: () => ({ mutedUntil: 0, pinned: false }),
    searchMessages: () => ({ hits: [], nextCursor: '', complete: true }),
    readAccount: () => ({ devices: [], sessions: [], files: [] }),
    readLeftRooms: () => ({ room: undefined, entries: [], nextCursor: '' }),
    readHistory: () => ({ entries: [], voids: [], head: 0, complete: true }),
    readOffline: () => ({ entries: [], voids: [], gaps: [], nextCursor: '' }),
    presence: () => ({ people: [] }),
    getMessage: () => {
      throw new AppError('message_not_found')
    },
    authorizeChange: () => ({
      conversation: 'dm:alice:bob',
      seq: 42,
      sentAt: 1_000,
      base: 0,
      until: 901_000,
      type: 'text',
    }),
    move: () => {},
    room: () => roomOf({}),
    member: () => memberOf({}),
    searchRooms: () => ({ rooms: [], nextCursor: '' }),
    listMembers: () => ({ members: [], nextCursor: '' }),
    listBans: () => ({ users: [], nextCursor: '' }),
    changeRoom: () => {},
    nonce: () => {},
    writeWords: () => 0,
    flagged: () => [],
    nodes: () => ({ nodes: [], sessions: 0 }),
    partitions: () => ({ partitions: [], owners: true }),
    letters: () => ({ letters: [], more: false }),
    requeue: () => '2-0',
    drop: () => true,
    inspectUser: () => ({ user: userNamed('bob'), disabledAt: 0, deletedAt: 0, hasPassword: true }),
    inspectMessage: () => {
      throw new AppError('message_not_found')
    },
    listSessions: () => ({ sessions: [], signIns: [] }),
    listDevices: () => ({ devices: [], nextCursor: '' }),
    limits: undefined,
  }
  const nonces = new Set<string>()
  const room = () => ({ room: behind.room() })
  const changed = () => {
    behind.changeRoom()
    return {}
  }
  const noted = <Request extends object, Response>(method: string, answer: (request: Request) => Response) => {
    return async (request: Request): Promise<Awaited<Response>> => {
      calls.push([method, request as Record<string, unknown>])
      return await answer(request)
    }
  }
  const notAsked = (): never => {
    throw new AppError('not_found')
  }
  const metrics = createMetrics('api', 'test')
  const eventLoop = { p95Ms: 0 }
  const tokens = createTokens(
    {
      jwtSecret: SECRET,
      publicKey: undefined,
      jwksUrl: undefined,
      issuer: undefined,
      audience: undefined,
      serviceTokens: [
        { name: 'backend', scopes: ['send'], token: SEND_TOKEN },
        { name: 'reports', scopes: ['read'], token: READ_TOKEN },
        { name: 'shop', scopes: ['push'], token: PUSH_TOKEN },
        { name: 'accounts', scopes: ['admin'], token: ADMIN_TOKEN },
      ],
    },
    (session) => revoked.has(session),
  )
  const app = buildApp({
    settings: {
      jwtSecret: SECRET,
      accessTokenS: 600,
      origins: options.origins ?? [],
      trustProxy: options.trustProxy ?? [],
      adminKeys: options.adminKeys ?? [ADMIN],
      adminAddresses: options.adminAddresses ?? ['127.0.0.0/8', '::1/128'],
      vapidPublicKey: undefined,
    },
    ...(options.limits && { limits: options.limits }),
    tokens,
    rates: { ...noRates, ...options.rates },
    seenUsers: createSeenUsers(async (user) => {
      calls.push(['seeUser', { user }])
      await behind.seeUser(user)
    }),
    tickets: {
      async issue(identity) {
        ticketed.push(identity)
        return 'ticket-1'
      },
    },
    acceptor: {
      async accept(draft) {
        drafts.push(draft)
        return { ...(await behind.accept(draft)), streamId: '1-1', partition: 0, generation: 1 }
      },
    },
    exports: options.exports ?? { take: async () => ({ keep: async () => {}, drop: async () => {} }) },
    pushes: {
      async toUsers(push, users) {
        pushed.push([users, push])
        return await behind.pushToUsers(users)
      },
      async toRoom(push, room) {
        pushed.push([`room:${room}`, push])
        return await behind.accept({ ...push, from: push.service, conversation: `room:${room}` })
      },
      async toAll(push) {
        pushed.push(['feed:*', push])
        return await behind.accept({ ...push, from: push.service, conversation: 'feed:*' })
      },
    },
    persisted: { wait: (_, withinMs) => behind.persisted(withinMs) },
    letters: {
      async list(group, after, limit) {
        calls.push(['letters', { group, after, limit }])
        return behind.letters()
      },
      async requeue(place) {
        calls.push(['requeue', { ...place }])
        return behind.requeue()
      },
      async drop(place) {
        calls.push(['drop', { ...place }])
        return behind.drop()
      },
    },
    limitsInEtcd: {
      read: async () => behind.limits,
      async write(text) {
        behind.limits = text
      },
      async clear() {
        behind.limits = undefined
      },
    },
    nonces: {
      async use(key, nonce) {
        behind.nonce()
        const isNew = !nonces.has(`${key} ${nonce}`)
        nonces.add(`${key} ${nonce}`)
        return isNew
      },
    },
    cluster: {
      nodes: async () => behind.nodes(),
      async partitions(group) {
        calls.push(['partitions', { group }])
        return behind.partitions()
      },
    },
    words: {
      read: async () => '{"words":[]}',
      async write(text) {
        calls.push(['writeWords', { text }])
        return behind.writeWords(text)
      },
      async clear() {
        calls.push(['clearWords', {}])
      },
    },
    flagged: { list: async (before, limit) => behind.flagged(before, limit) },
    eventLoop,
    files: { blobs: inMemory(uploaded), maxBytes: 1_000, types: ['*/*'], uploadMs: options.uploadMs ?? 10_000 },
    isRevoked: (session) => revoked.has(session),
    logic: {
      register: noted('register', () => ({ grant: behind.grant() })),
      login: noted('login', () => ({ grant: behind.grant() })),
      refresh: noted('refresh', () => ({ grant: behind.grant() })),
      logout: noted('logout', () => ({})),
      getUser: noted('getUser', async ({ user = '' }: { user?: string }) => ({ user: await behind.getUser(user) })),
      updateUser: noted(
        'updateUser',
        async ({ user = '', displayName = '' }: { user?: string; displayName?: string }) => ({
          user: { ...(await behind.getUser(user)), displayName },
        }),
      ),
      deleteUser: noted('deleteUser', () => ({})),
      block: noted('block', () => ({})),
      unblock: noted('unblock', () => ({})),
      listBlocks: noted('listBlocks', () => behind.listBlocks()),
      listConversations: noted('listConversations', () => behind.listConversations()),
      setFlags: noted('setFlags', () => behind.setFlags()),
      searchMessages: noted('searchMessages', () => behind.searchMessages()),
      readAccount: noted('readAccount', () => behind.readAccount()),
      readLeftRooms: noted('readLeftRooms', ({ user = '', cursor = '' }: { user?: string; cursor?: string }) =>
        behind.readLeftRooms({ user, cursor }),
      ),
      readHistory: noted('readHistory', () => behind.readHistory()),
      readOffline: noted('readOffline', () => behind.readOffline()),
      presence: noted('presence', () => behind.presence()),
      getMessage: noted('getMessage', () => behind.getMessage()),
      authorizeChange: noted('authorizeChange', () => behind.authorizeChange()),
      makeUser: noted('makeUser', ({ user = '' }: { user?: string }) => {
        behind.move()
        return { user: userNamed(user) }
      }),
      setUserDisabled: noted('setUserDisabled', changed),
      inspectUser: noted('inspectUser', () => behind.inspectUser()),
      inspectMessage: noted('inspectMessage', () => behind.inspectMessage()),
      listSessions: noted('listSessions', () => behind.listSessions()),
      endSessions: noted('endSessions', changed),
      listDevices: noted('listDevices', () => behind.listDevices()),
      removeDevice: noted('removeDevice', changed),
      ack: noted('ack', () => {
        behind.move()
        return {}
      }),
      read: noted('read', () => {
        behind.move()
        return {}
      }),
      createRoom: noted('createRoom', room),
      getRoom: noted('getRoom', room),
      updateRoom: noted('updateRoom', room),
      joinRoom: noted('joinRoom', room),
      addMembers: noted('addMembers', room),
      setMember: noted('setMember', () => ({ member: behind.member() })),
      searchRooms: noted('searchRooms', () => behind.searchRooms()),
      listMembers: noted('listMembers', () => behind.listMembers()),
      listBans: noted('listBans', () => behind.listBans()),
      deleteRoom: noted('deleteRoom', changed),
      leaveRoom: noted('leaveRoom', changed),
      removeMember: noted('removeMember', changed),
      ban: noted('ban', changed),
      unban: noted('unban', changed),
      beginFile: noted('beginFile', () => ({})),
      storeFile: noted('storeFile', ({ id = '', size = 0 }: { id?: string; size?: number }) => ({
        file: {
          ...{ id, size, owner: 'alice', name: 'a', mediaType: 'text/plain', sha256: '' },
          ...{ width: 0, height: 0, createdAt: 1 },
        },
      })),
      dropFile: noted('dropFile', () => ({})),
      openFile: noted('openFile', () => ({ file: undefined })),
      deleteFile: noted('deleteFile', () => ({})),
      deletedFiles: noted('deletedFiles', () => ({ ids: [] })),
      forgetFiles: noted('forgetFiles', () => ({})),
      // packages/harness tests these.
      createWebhook: noted('createWebhook', notAsked),
      listWebhooks: noted('listWebhooks', notAsked),
      updateWebhook: noted('updateWebhook', notAsked),
      deleteWebhook: noted('deleteWebhook', notAsked),
      listDeadDeliveries: noted('listDeadDeliveries', notAsked),
      retryDeliveries: noted('retryDeliveries', notAsked),
      putPushSubscription: noted('putPushSubscription', notAsked),
      listPushSubscriptions: noted('listPushSubscriptions', notAsked),
      deletePushSubscription: noted('deletePushSubscription', notAsked),
    },
    log,
    metrics,
    tracing: options.tracing ?? noTracing,
  })
  t.teardown(async () => {
    app.server.closeAllConnections()
    await app.close()
  })
  await app.ready()

  async function call(
    method: string,
    path: string,
    { as, token, body, headers, peer }: CallOptions = {},
  ): Promise<Reply> {
    const bearer = as === false ? undefined : (token ?? tokenOf(as ?? 'alice'))
    const isText = typeof body === 'string' || Buffer.isBuffer(body)
    const injected = await app.inject({
      method: method as NonNullable<InjectOptions['method']>,
      url: path.startsWith('/') ? path : `/api/v1/${path}`,
      headers: {
        ...(bearer !== undefined && { authorization: `Bearer ${bearer}` }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body !== undefined && { payload: isText ? body : JSON.stringify(body) }),
      ...(peer !== undefined && { remoteAddress: peer }),
    })
    const isJson = /\bjson\b/.test(String(injected.headers['content-type'] ?? ''))
    return {
      status: injected.statusCode,
      headers: injected.headers,
      text: injected.payload,
      body: isJson && injected.payload !== '' ? JSON.parse(injected.payload) : undefined,
    }
  }

  async function admin(method: string, path: string, options: AdminCall = {}): Promise<Reply> {
    const { key = ADMIN, signed = {}, body, headers, ...rest } = options
    const text = body === undefined || typeof body === 'string' ? body : JSON.stringify(body)
    const signature = signedHeaders(
      key,
      { method, target: path.startsWith('/') ? path : `/api/v1/${path}`, body: text ?? '', ...signed },
      signed.at,
    )
    return call(method, path, { as: false, body: text, headers: { ...signature, ...headers }, ...rest })
  }

  return {
    app,
    admin,
    drafts,
    pushed,
    calls,
    ticketed,
    uploaded,
    revoked,
    metrics,
    eventLoop,
    lines,
    behind,
    call,
    send: (body, more) => call('POST', 'messages', { body, ...more }),
    async listen() {
      await app.listen({ host: '127.0.0.1', port: 0 })
      return (app.server.address() as AddressInfo).port
    },
  }
}

/** Keeps the bytes of uploads; nothing is read back. */
const inMemory = (uploaded: Buffer[]): FileSettings['blobs'] => ({
  async put(_id, bytes) {
    const chunks: Uint8Array[] = []
    for await (const chunk of bytes) chunks.push(chunk)
    uploaded.push(Buffer.concat(chunks))
  },
  get: () => Promise.reject(away()),
  delete: async () => {},
})

export const userNamed = (id: string): logicRpc.User => ({ id, displayName: id, createdAt: 1_700_000_000_000 })

export const ROOM = 'gQ3vX0aLk81ZpR_e'

/** As logic answers with it. */
export const roomOf = (over: Partial<logicRpc.Room>): logicRpc.Room => ({
  id: ROOM,
  name: 'Team',
  kind: 'permanent',
  visibility: 'private',
  history: 'joined',
  members: 2,
  createdAt: 1_763_700_000_000,
  endsAt: 0,
  version: 1,
  role: 'owner',
  retentionDays: 0,
  ...over,
})

export const memberOf = (over: Partial<logicRpc.Member>): logicRpc.Member => ({
  user: 'bob',
  displayName: 'Bob',
  role: 'member',
  mutedUntil: 0,
  joinedAt: 1_763_700_000_000,
  ...over,
})

/** Checks that a reply is a problem document with this code. */
export function isProblem(t: Test, reply: Reply, status: number, code: string | RegExp, about: string): void {
  t.match(
    { status: reply.status, ...reply.body },
    { status, code, title: String, detail: String, requestId: String },
    about,
  )
  t.equal(reply.headers['content-type'], 'application/problem+json', `${about}: media type`)
  t.equal(reply.body?.requestId, reply.headers['x-request-id'], `${about}: request id`)
  t.notMatch(reply.text, /at .*\.[jt]s:\d+/, `${about}: no stack`)
}

export const away = (): AppError => new AppError('unavailable', 'logic cannot be reached', { retryAfter: 2 })

/** A valid body, changed. */
export const message = (over: Record<string, unknown> = {}): Record<string, unknown> => ({
  to: { user: 'bob' },
  content: { text: 'hello' },
  ...over,
})
