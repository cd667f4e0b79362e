/** The JSON that goes in and out, as TypeBox: from it come the checks, the types and the OpenAPI document. */
import { CLIENT_ID, type ErrorCode, errorTable, ROOM_ID, USER_ID } from '@tidings/protocol'
import { type Static, type TSchema, Type } from 'typebox'
import { PROBLEM_TYPE } from './problem.js'

const strict = { additionalProperties: false } as const

/** A pattern of the protocol, as JSON Schema spells it. */
export const matching = (pattern: RegExp, description: string) => Type.String({ pattern: pattern.source, description })

export const UserId = matching(USER_ID, 'A user: 1 to 64 of A-Z, a-z, 0-9, _, ., @ and -. Upper and lower case differ.')

export const RoomId = matching(ROOM_ID, 'A room: 16 of A-Z, a-z, 0-9, _ and -.')

export const User = Type.Object(
  {
    id: UserId,
    displayName: Type.String({ description: 'What others are shown.' }),
    createdAt: Type.Integer({ description: 'Milliseconds since 1970.' }),
  },
  { $id: 'User', description: 'A person or a bot.', ...strict },
)

/** In the query of what a service token may read. */
export const As = Type.Optional(
  matching(USER_ID, 'For service tokens with the scope read, which must name it: whose view is read.'),
)

const SEQ = 'Position in the conversation: from 1, rising by one.'
const ID = 'A 64-bit number, as a decimal string.'

export const Sent = Type.Object(
  {
    id: Type.String({ description: ID }),
    conversation: Type.String({ description: 'Where it went, for example dm:alice:bob.' }),
    seq: Type.Integer({ description: SEQ }),
    sentAt: Type.Integer({ description: 'Milliseconds since 1970.' }),
    duplicate: Type.Boolean({ description: 'True when an earlier send with the same clientId was answered.' }),
    reached: Type.Optional(
      Type.Enum(['accepted', 'persisted'], {
        description: 'Where wait was given: persisted when MySQL has it; accepted when that was not known in time.',
      }),
    ),
  },
  {
    $id: 'Sent',
    description: 'The message is accepted: it will be stored and delivered, whatever single process dies.',
    examples: [
      { id: '7261234567890123456', conversation: 'dm:alice:bob', seq: 42, sentAt: 1763700000000, duplicate: false },
    ],
    ...strict,
  },
)

/** Any JSON object: what is inside is the application's. It is not declared further, so it is never written again. */
export const Content = Type.Object(
  {},
  {
    additionalProperties: true,
    description:
      'A JSON object of at most 16 KiB and 32 levels. It is stored and delivered as the very text that was sent: numbers beyond 2^53 and the order of keys stay.',
  },
)

const ClientId = matching(CLIENT_ID, 'The key of this send: repeating it within 24 h gives the first answer again.')

export const Message = Type.Object(
  {
    id: Type.String({ description: ID }),
    conversation: Type.String(),
    seq: Type.Integer({ description: SEQ }),
    from: Type.String({ description: 'A user; or service: and the name of a server, for what was pushed.' }),
    type: Type.String({
      description:
        'text, image, file, system, edit, recall, reaction, an x-... of an application; of a stub recalled, expired or collapsed.',
    }),
    content: Type.Optional(Content),
    clientId: Type.Optional(ClientId),
    sentAt: Type.Integer({ description: 'Milliseconds since 1970.' }),
    editedAt: Type.Optional(
      Type.Integer({
        description: 'When it was last edited, in milliseconds since 1970; content is that of this edit.',
      }),
    ),
    reactions: Type.Optional(
      Type.Record(
        Type.String(),
        Type.Object({
          count: Type.Integer(),
          users: Type.Array(UserId, { description: 'In their order; of a message at most 200 are named.' }),
        }),
        { description: 'Who reacted, by what with.' },
      ),
    ),
    recalledAt: Type.Optional(Type.Integer({ description: 'Of a recalled message, in milliseconds since 1970.' })),
    recalledBy: Type.Optional(UserId),
    expiresAt: Type.Optional(
      Type.Integer({
        description: 'Of what was pushed with a ttl: from then on it is shown as a stub of the type expired.',
      }),
    ),
    priority: Type.Optional(Type.Enum(['high'], { description: 'Of what was pushed as urgent.' })),
    collapseKey: Type.Optional(Type.String({ description: 'Of what was pushed with one.' })),
    collapses: Type.Optional(Type.Integer({ description: 'The seq of the entry whose place it has taken.' })),
    collapsedAt: Type.Optional(Type.Integer({ description: 'Of a collapsed entry, in milliseconds since 1970.' })),
  },
  {
    $id: 'Message',
    description:
      'An entry of a conversation. Without content it is a stub: its type is then recalled, and what it said is gone.',
    examples: [
      {
        id: '7261234567890123456',
        conversation: 'dm:alice:bob',
        seq: 42,
        from: 'alice',
        type: 'text',
        content: { text: 'hello' },
        clientId: 'c-1',
        sentAt: 1763700000000,
      },
    ],
    ...strict,
  },
)

export const Problem = Type.Object(
  {
    type: Type.String({ description: 'urn:tidings:error: with the code.' }),
    title: Type.String({ description: 'The code in words; never changes.' }),
    status: Type.Integer(),
    detail: Type.String({ description: 'What was wrong this time, for a person.' }),
    code: Type.Enum(Object.keys(errorTable), { description: 'For programs. A code is never renamed.' }),
    instance: Type.Optional(Type.String({ description: 'The path of the request.' })),
    requestId: Type.Optional(Type.String({ description: 'The x-request-id of the request, as the logs show it.' })),
    retryAfter: Type.Optional(Type.Integer({ description: 'With 429 and 503: seconds until a retry makes sense.' })),
    serverTime: Type.Optional(
      Type.Integer({ description: 'With signature_expired: the clock here, in milliseconds since 1970.' }),
    ),
    floor: Type.Optional(Type.Integer({ description: 'With cursor_too_old: the newest seq that is gone.' })),
    mutedUntil: Type.Optional(Type.Integer({ description: 'With muted: until when, in milliseconds since 1970.' })),
    errors: Type.Optional(
      Type.Array(
        Type.Object({
          pointer: Type.String({ description: 'JSON pointer into the body, or the name of a parameter.' }),
          message: Type.String(),
        }),
      ),
    ),
  },
  {
    $id: 'Problem',
    description: 'An error (RFC 9457). 4xx: surely not accepted. 5xx: unknown, repeat it with the same clientId.',
    additionalProperties: true,
  },
)

export const SHARED_SCHEMAS = [User, Sent, Message, Problem] as const

/** A shared schema by its name, with its type. */
export const named = <T extends TSchema>(schema: T, description?: string) =>
  Type.Unsafe<Static<T>>({
    $ref: `${(schema as { $id?: string }).$id}#`,
    ...(description !== undefined && { description }),
  })

/** Exactly one of the two is there. */
const Recipient = Type.Object(
  {
    user: Type.Optional(UserId),
    room: Type.Optional(RoomId),
  },
  { minProperties: 1, maxProperties: 1, description: 'A user, or a room.', ...strict },
)

export const SendMessage = Type.Object(
  {
    to: Recipient,
    type: Type.Optional(
      Type.String({ maxLength: 64, description: 'text (when left out), image, file, or an x-... of your own.' }),
    ),
    content: Content,
    clientId: Type.Optional(ClientId),
    from: Type.Optional(
      matching(USER_ID, 'For service tokens with the scope send, which must name it: who the message is from.'),
    ),
    wait: Type.Optional(
      Type.Enum(['accepted', 'persisted'], {
        description:
          'What the answer waits for. With persisted it comes when MySQL has the message, or at the deadline; reached says which. The ' +
          'message is accepted either way.',
      }),
    ),
    waitMs: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 30_000,
        description: 'The deadline of wait, in milliseconds. 5,000 when left out.',
      }),
    ),
  },
  {
    examples: [{ to: { user: 'bob' }, content: { text: 'hello' }, clientId: 'c-1' }],
    description: 'A message to send.',
    ...strict,
  },
)
export type SendMessage = Static<typeof SendMessage>

export const EditMessage = Type.Object(
  {
    content: Content,
    clientId: Type.Optional(ClientId),
    from: Type.Optional(
      matching(USER_ID, 'For service tokens with the scope send, which must name it: whose message it is.'),
    ),
  },
  { examples: [{ content: { text: 'hello, world' } }], description: 'What the message says from now on.', ...strict },
)

/** Codes that any route may answer with. */
const EVERYWHERE: readonly ErrorCode[] = [
  'invalid_request',
  'request_timeout',
  'headers_too_large',
  'rate_limited',
  'internal',
  'unavailable',
  'overloaded',
]
/** Codes of every route that reads a body. */
export const BODY_CODES = ['invalid_json', 'payload_too_large', 'unsupported_media_type'] as const
/** Codes of every route that needs a token. */
export const TOKEN_CODES = ['unauthenticated', 'forbidden', 'user_disabled'] as const

/** The error half of a route's responses. @param codes what this route adds to those that any has */
export function problems(...codes: readonly ErrorCode[]) {
  const byStatus = new Map<number, ErrorCode[]>()
  for (const code of [...EVERYWHERE, ...codes]) {
    const { http } = errorTable[code]
    byStatus.set(http, [...(byStatus.get(http) ?? []), code])
  }
  const responses = [...byStatus].map(([status, ofStatus]) => {
    const description = ofStatus.map((code) => `\`${code}\`: ${errorTable[code].title}.`).join(' ')
    const headers = status === 429 || status === 503 ? { headers: { 'retry-after': RETRY_AFTER } } : {}
    return [status, { description, ...headers, content: { [PROBLEM_TYPE]: { schema: named(Problem) } } }] as const
  })
  return Object.fromEntries(responses)
}

const RETRY_AFTER = { type: 'integer', description: 'Seconds until a retry makes sense.' }

/** Codes of every route of operators. */
export const ADMIN_CODES = [
  'signature_required',
  'signature_invalid',
  'signature_expired',
  'signature_replayed',
  'admin_off',
  'address_not_allowed',
] as const
/** The security of a route of operators. */
export const SIGNED = [{ signature: [] }]

/** The security of a route that needs a token. */
export const SIGNED_IN = [{ bearer: [] }]
