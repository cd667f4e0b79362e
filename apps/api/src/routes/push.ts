/** What servers have to say to their users. */
import type { Push } from '@tidings/accept'
import {
  AppError,
  CLIENT_ID,
  CUSTOM_TYPE,
  checkContent,
  ENTRY_TYPES,
  type ErrorCode,
  errorTable,
  fileClaims,
  MAX_TTL_S,
  PRIORITIES,
  SENDABLE_TYPES,
  showsFile,
} from '@tidings/protocol'
import { traceparentOf } from '@tidings/service'
import type { FastifyRequest, onRequestHookHandler } from 'fastify'
import { type Static, Type } from 'typebox'
import type { Api, ApiDeps } from '../api.js'
import { PUSH_BODY_LIMIT } from '../body.js'
import type { RequestLog } from '../request-log.js'
import {
  BODY_CODES,
  Content,
  matching,
  named,
  problems,
  RoomId,
  Sent,
  SIGNED_IN,
  TOKEN_CODES,
  UserId,
} from '../schemas.js'

const MAX_USERS = 10_000
const strict = { additionalProperties: false } as const

const To = Type.Object(
  {
    users: Type.Optional(
      Type.Array(UserId, {
        minItems: 1,
        maxItems: MAX_USERS,
        description: 'Into the feed of each. One that is named twice gets it once.',
      }),
    ),
    room: Type.Optional(RoomId),
    all: Type.Optional(Type.Literal(true, { description: 'Everyone who has an account by now, in feed:*.' })),
  },
  { minProperties: 1, maxProperties: 1, description: 'Users, a room, or everyone.', ...strict },
)

const PushBody = Type.Object(
  {
    to: To,
    type: Type.Optional(
      Type.String({
        maxLength: 64,
        description: 'system (when left out), text, image, file, or an x-... of your own.',
      }),
    ),
    content: Content,
    ttl: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: MAX_TTL_S,
        description: 'Seconds. Whoever comes later is shown that there was something, and not what.',
      }),
    ),
    priority: Type.Optional(
      Type.Enum([...PRIORITIES], {
        description:
          'normal when left out. high is shown in the message as priority, and is taken while the stores are so far behind that other ' +
          'pushes are refused.',
      }),
    ),
    collapseKey: Type.Optional(
      matching(
        CLIENT_ID,
        'What you push to the same place later with the same key takes its place: whoever has not had this one is shown only that.',
      ),
    ),
  },
  {
    examples: [
      { to: { users: ['alice', 'bob'] }, content: { title: 'Shipped' }, ttl: 86_400 },
      { to: { room: 'gQ3vX0aLk81ZpR_e' }, content: { text: 'The build is green.' } },
      { to: { all: true }, type: 'x-notice', content: { text: 'Down for a minute at noon.' }, priority: 'high' },
    ],
    description: 'A notification.',
    ...strict,
  },
)
type PushBody = Static<typeof PushBody>

const Pushed = Type.Object(
  {
    accepted: Type.Integer({ description: 'Of how many users it is in the feed; 1 for a room and for everyone.' }),
    duplicates: Type.Integer({
      description: 'How many of them had it from an earlier call with this Idempotency-Key.',
    }),
    refused: Type.Array(
      Type.Object({
        user: Type.String(),
        code: Type.Enum(Object.keys(errorTable)),
        detail: Type.String(),
      }),
      {
        description: 'The others, and why. Repeat the call with the same Idempotency-Key when a code is one of a 503.',
      },
    ),
    message: Type.Optional(named(Sent, 'Of a room or of everyone: the entry.')),
  },
  {
    description: 'It was accepted for those who are not in refused.',
    examples: [
      {
        accepted: 1,
        duplicates: 0,
        refused: [{ user: 'nobody', code: 'user_not_found', detail: 'There is no such user.' }],
      },
    ],
    ...strict,
  },
)
type Pushed = Static<typeof Pushed>

const Headers = Type.Object({
  'idempotency-key': Type.Optional(
    matching(
      CLIENT_ID,
      'The key of the whole call: whoever got it is not given it again when it is repeated within 24 h.',
    ),
  ),
})

const CODES = [
  'invalid_content',
  'content_too_large',
  'room_not_found',
  'word_rejected',
  'idempotency_conflict',
  'outcome_unknown',
] as const satisfies readonly ErrorCode[]

function typeOf({ type = 'system' }: PushBody): string {
  if (type === 'system' || SENDABLE_TYPES.has(type) || CUSTOM_TYPE.test(type)) return type
  if (ENTRY_TYPES.has(type)) throw new AppError('forbidden', `Entries of the type ${type} are not pushed.`)
  throw new AppError(
    'invalid_request',
    'type is system, text, image, file, or x- with up to 62 of A-Z, a-z, 0-9, _, . and -.',
  )
}

/** @throws AppError `invalid_content`, also for an uploaded file: those belong to who uploaded them, and to the people of a conversation */
function contentOf(raw: string | undefined, type: string): string {
  const content = checkContent(raw)
  if (showsFile(type) && fileClaims(type, content).length > 0)
    throw new AppError('invalid_content', 'A push shows an image or a file by its URL, not one that was uploaded here.')
  return content
}

/** A call that could be done for nobody, because something is away, is no success. */
function requireOne({ accepted, refused }: { accepted: number; refused: readonly { error: AppError }[] }): void {
  const [first] = refused
  if (accepted === 0 && first && refused.every(({ error }) => error.status >= 500)) throw first.error
}

export function pushRoutes(
  app: Api,
  { pushes, rates }: ApiDeps,
  authenticate: onRequestHookHandler,
  log: RequestLog,
): void {
  /** Before the body is read: it may be long. */
  const requirePusher: onRequestHookHandler = ({ identity }, _reply, done) => {
    if (identity.scopes?.has('push')) return done()
    try {
      rates.call(identity)
      throw new AppError('forbidden', 'This call needs a service token with the scope push.')
    } catch (error) {
      done(error as Error)
    }
  }

  async function toUsers(request: FastifyRequest, push: Push, users: readonly string[]): Promise<Pushed> {
    rates.pushes(request.identity, users.length)
    const result = await pushes.toUsers(push, users)
    requireOne(result)
    const refused = result.refused.map(({ user, error }) => {
      log.failed(request, error)
      return { user, code: error.code, detail: error.message }
    })
    return { accepted: result.accepted, duplicates: result.duplicates, refused }
  }

  app.post(
    '/push',
    {
      onRequest: [authenticate, requirePusher],
      bodyLimit: PUSH_BODY_LIMIT,
      config: { body: 'message', sends: true },
      schema: {
        operationId: 'push',
        tags: ['push'],
        summary: 'Notify users, a room or everyone',
        description:
          'For servers, with a service token of the scope push. To users, up to 10,000 in a call: each has a feed of their own, ' +
          'feed:<user>. To everyone: one entry in feed:*, however many there are. A notification is an entry like others: numbered, ' +
          "stored, delivered to every device, counted as unread. The operator's word list applies to it as to a message.",
        security: SIGNED_IN,
        headers: Headers,
        body: PushBody,
        response: { 202: Pushed, ...problems(...BODY_CODES, ...TOKEN_CODES, ...CODES) },
      },
    },
    async (request, reply) => {
      const { body, identity, headers } = request
      const type = typeOf(body)
      const push: Push = {
        service: identity.user,
        type,
        content: contentOf(request.members.get('content'), type),
        clientId: headers['idempotency-key'] ?? '',
        ttlS: body.ttl,
        priority: body.priority ?? 'normal',
        collapseKey: body.collapseKey,
        trace: traceparentOf(headers.traceparent),
      }
      reply.code(202)
      const { users, room } = body.to
      if (users) return await toUsers(request, push, users)
      rates.pushes(identity, 1)
      const message = room === undefined ? await pushes.toAll(push) : await pushes.toRoom(push, room)
      return { accepted: 1, duplicates: message.duplicate ? 1 : 0, refused: [], message }
    },
  )
}
