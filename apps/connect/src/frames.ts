/** What a client may say: one table of ops, each with its schema and its handler. */
import type { Acceptor, Identity, Tokens } from '@tidings/accept'
import {
  AppError,
  CLIENT_ID,
  Close,
  CUSTOM_TYPE,
  checkContent,
  checkReply,
  dmId,
  ENTRY_TYPES,
  messageFrame,
  ROOM_ID,
  rawMembers,
  requireParty,
  requirePossibleParty,
  SENDABLE_TYPES,
  seenNow,
  toAppError,
  USER_ID,
} from '@tidings/protocol'
import type { Logger } from '@tidings/service'
import Type, { type Static, type TSchema } from 'typebox'
import { Compile } from 'typebox/compile'
import type { Acks } from './ack.js'
import type { CatchUp } from './catch-up.js'
import { REFUSED_SEND } from './gate.js'
import type { Reads } from './reads.js'
import { coveredTo } from './repair.js'
import type { SendLimit } from './send-limit.js'
import type { Session } from './session.js'
import type { StoredReceipts } from './stored.js'
import type { Typing } from './typing.js'
import { MAX_WATCHED, type Watch } from './watch.js'

const SYNC_PAGE = 100
const MAX_SYNC = 500
const MAX_RESUME = 1_000

export interface FrameDeps {
  acceptor: Acceptor
  tokens: Tokens
  acks: Acks
  catchUp: CatchUp
  stored: StoredReceipts
  typing: Typing
  watch: Pick<Watch, 'watch'>
  reads: Reads
  sends: SendLimit
  log: Logger
}

const text = (pattern: RegExp) => Type.String({ pattern: pattern.source })
const seq = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })
const conversation = Type.String({ minLength: 1, maxLength: 140 })
const exactly = { additionalProperties: false }

interface Op {
  check(frame: unknown): boolean
  /** What a right frame looks like, for whoever sent a wrong one. */
  shape: string
  run(deps: FrameDeps, session: Session, frame: unknown, raw: string): void | Promise<void>
}

function op<S extends TSchema>(
  schema: S,
  shape: string,
  run: (deps: FrameDeps, session: Session, frame: Static<S>, raw: string) => void | Promise<void>,
): Op {
  const compiled = Compile(schema)
  return {
    check: (frame) => compiled.Check(frame),
    shape,
    run: (deps, session, frame, raw) => run(deps, session, frame as Static<S>, raw),
  }
}

const Send = Type.Object(
  {
    op: Type.Literal('send'),
    to: Type.Union([Type.Object({ user: text(USER_ID) }, exactly), Type.Object({ room: text(ROOM_ID) }, exactly)]),
    type: Type.Optional(Type.String({ minLength: 1, maxLength: 64 })),
    content: Type.Object({}),
    clientId: text(CLIENT_ID),
  },
  exactly,
)
const Ack = Type.Object({ op: Type.Literal('ack'), conversation, seq }, exactly)
const Read = Type.Object({ op: Type.Literal('read'), conversation, seq }, exactly)
const Sync = Type.Object(
  {
    op: Type.Literal('sync'),
    conversation,
    after: seq,
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_SYNC })),
  },
  exactly,
)
const Resume = Type.Object(
  { op: Type.Literal('resume'), cursors: Type.Record(Type.String(), seq), done: Type.Optional(Type.Boolean()) },
  exactly,
)
const Token = Type.Object(
  { op: Type.Literal('token'), token: Type.String({ minLength: 1, maxLength: 8_192 }) },
  exactly,
)
const Writing = Type.Object({ op: Type.Literal('typing'), conversation }, exactly)
const Watching = Type.Object(
  { op: Type.Literal('watch'), users: Type.Array(text(USER_ID), { maxItems: MAX_WATCHED }) },
  exactly,
)
const Ping = Type.Object({ op: Type.Literal('ping') }, exactly)

const OPS = new Map<string, Op>([
  ['send', op(Send, '{"op":"send","to":{"user":"bob"},"content":{...},"clientId":"..."}', send)],
  ['ack', op(Ack, '{"op":"ack","conversation":"dm:alice:bob","seq":42}', ack)],
  ['read', op(Read, '{"op":"read","conversation":"dm:alice:bob","seq":42}', read)],
  ['sync', op(Sync, '{"op":"sync","conversation":"dm:alice:bob","after":0,"limit":100}', sync)],
  ['resume', op(Resume, '{"op":"resume","cursors":{"dm:alice:bob":42},"done":true}', resume)],
  ['token', op(Token, '{"op":"token","token":"..."}', renew)],
  [
    'typing',
    op(Writing, '{"op":"typing","conversation":"dm:alice:bob"}', ({ typing }, session, frame) =>
      typing(session, frame.conversation),
    ),
  ],
  [
    'watch',
    op(Watching, `{"op":"watch","users":["bob"]}, with up to ${MAX_WATCHED} users`, ({ watch }, session, frame) =>
      watch.watch(session, frame.users),
    ),
  ],
  ['ping', op(Ping, '{"op":"ping"}', (_deps, session) => session.tell({ op: 'pong' }))],
])

/** What a frame failed with, and whether the client broke the protocol (three of those end the session). */
export interface FrameFault {
  error: AppError
  badFrame: boolean
}

/**
 * Handles one frame of a client. Answers what it asked for, or an `error` frame with the code and what it referred to.
 * @param admits may a frame of this op pass? If not, the session has been closed
 * @returns the fault when the frame itself was not right
 */
export function handleFrame(
  deps: FrameDeps,
  session: Session,
  raw: string,
  admits: (op: unknown) => boolean,
): FrameFault | undefined {
  let ref: Record<string, unknown> = {}
  const fail = (thrown: unknown): void => {
    const error = toAppError(thrown)
    if (ref.ref === 'send' && error.code === 'rate_limited' && !admits(REFUSED_SEND)) return
    if (error.code === 'internal') deps.log.error({ err: error.cause ?? error, session: session.id }, 'a frame failed')
    session.tell({
      op: 'error',
      code: error.code,
      message: error.message,
      ...(error.retryAfter !== undefined && { retryAfter: error.retryAfter }),
      ...ref,
    })
  }
  const bad = (message: string): FrameFault => {
    const error = new AppError('bad_frame', message)
    fail(error)
    return { error, badFrame: true }
  }

  let frame: unknown
  try {
    frame = JSON.parse(raw)
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    return admits(undefined) ? bad('A frame must be JSON.') : undefined
  }
  if (!admits((frame as { op?: unknown } | null)?.op)) return undefined
  if (typeof frame !== 'object' || frame === null || Array.isArray(frame)) return bad('A frame must be a JSON object.')
  const { op: name, clientId } = frame as { op?: unknown; clientId?: unknown }
  if (typeof name !== 'string') return bad('A frame must have an op.')
  const known = OPS.get(name)
  if (!known) return bad(`There is no op of this name. There are ${[...OPS.keys()].join(', ')}.`)
  ref = { ref: name, ...(typeof clientId === 'string' && CLIENT_ID.test(clientId) && { clientId }) }
  if (!known.check(frame)) return bad(`Not a right ${name} frame. It looks like ${known.shape}.`)
  // Of a send its content is looked at, too, when it is accepted.
  if (name !== 'send' && namesIn(raw) !== namesOf(frame)) return bad('A name stands twice in this frame.')
  try {
    Promise.resolve(known.run(deps, session, frame, raw)).catch(fail)
  } catch (error) {
    fail(error)
  }
  return undefined
}

/** Names as they were written: of a doubled one JSON.parse keeps the last. No value of a right frame looks like one but a token's. */
const namesIn = (raw: string): number => raw.match(/"\s*:/g)?.length ?? 0

const namesOf = (frame: object): number =>
  Object.values(frame).reduce<number>(
    (sum, value) => sum + (isNested(value) ? namesOf(value) : 0),
    Object.keys(frame).length,
  )

const isNested = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

async function send(deps: FrameDeps, session: Session, frame: Static<typeof Send>, raw: string): Promise<void> {
  const { to, type = 'text', clientId } = frame
  deps.sends.take(session.user)
  checkSendable(type)
  const content = checkContent(rawMembers(raw).get('content'))
  if (SENDABLE_TYPES.has(type)) checkReply(content)
  const target = 'user' in to ? dmId(session.user, to.user) : `room:${to.room}`
  const accepted = await deps.acceptor.accept({
    from: session.user,
    conversation: target,
    type,
    content,
    clientId,
    trace: '',
  })
  const { id, seq: position, sentAt, duplicate } = accepted
  session.tell({ op: 'sent', clientId, id, conversation: target, seq: position, sentAt, duplicate })
  deps.stored.expect(session, accepted)
}

function checkSendable(type: string): void {
  if (SENDABLE_TYPES.has(type) || CUSTOM_TYPE.test(type)) return
  if (ENTRY_TYPES.has(type))
    throw new AppError('forbidden', `Messages of type ${type} are made by the system; messages are changed over HTTP.`)
  throw new AppError('invalid_request', 'type must be text, image, file or begin with x-.')
}

function ack(deps: FrameDeps, session: Session, frame: Static<typeof Ack>): void {
  const shown = session.positionOf(frame.conversation)
  // What was shown last of a room that one has left: nothing depends on it any more.
  if (shown === undefined && frame.seq <= (session.leftAt(frame.conversation) ?? -1)) return
  if (shown === undefined) requireParty(frame.conversation, session.user)
  if (frame.seq > (shown ?? 0)) {
    throw new AppError('beyond_head', 'Only what this session was shown can be acknowledged.', {
      details: { conversation: frame.conversation },
    })
  }
  const upTo = session.ackable(frame.conversation, frame.seq)
  if (upTo > 0) deps.acks.add(session.user, session.device, frame.conversation, upTo)
}

/** Not bounded by what this session was shown: the person may have read it on another device. */
async function read(deps: FrameDeps, session: Session, frame: Static<typeof Read>): Promise<void> {
  const { id } = requirePossibleParty(frame.conversation, session.user)
  await deps.reads(session, id, frame.seq)
}

/** A page of a conversation on request, beside and not instead of the live order. */
async function sync(deps: FrameDeps, session: Session, frame: Static<typeof Sync>): Promise<void> {
  const { after, limit = SYNC_PAGE } = frame
  requirePossibleParty(frame.conversation, session.user)
  let position = after
  let covered = after
  let messages = 0
  while (messages < limit && !session.closed) {
    const page = await deps.catchUp.readAfter(
      session.user,
      frame.conversation,
      position,
      Math.min(SYNC_PAGE, limit - messages),
    )
    for (const gone of page.voids)
      session.tell({ op: 'void', conversation: frame.conversation, from: gone.from, to: gone.to })
    for (const entry of page.entries) {
      if (session.congested) await session.writable()
      session.show(messageFrame(seenNow(entry)))
    }
    messages += page.entries.length
    if (covered === position) covered = coveredTo(page, position)
    const last = Math.max(page.entries.at(-1)?.seq ?? 0, page.voids.at(-1)?.to ?? 0)
    if (last <= position) break
    position = last
    await session.writable()
  }
  session.filled(frame.conversation, after, covered)
  session.tell({ op: 'synced', conversation: frame.conversation, messages })
}

/** The client's own cursors instead of the stored ones, for this session: they may reach further back. */
function resume(deps: FrameDeps, session: Session, frame: Static<typeof Resume>): void {
  const cursors = Object.entries(frame.cursors)
  if (cursors.length > MAX_RESUME) {
    throw new AppError('invalid_request', `At most ${MAX_RESUME} cursors in one frame; send more frames.`)
  }
  if (!session.resuming) throw new AppError('invalid_request', 'Connect with ?resume=client to send cursors.')
  for (const [name, cursor] of cursors) session.resumeFrom(name, cursor)
  if (frame.done) session.resuming.done()
  deps.log.debug({ session: session.id, cursors: cursors.length }, 'resumed')
}

async function renew(deps: FrameDeps, session: Session, frame: Static<typeof Token>): Promise<void> {
  let identity: Identity
  try {
    identity = await deps.tokens.verify(frame.token)
  } catch (error) {
    if (error instanceof AppError && error.code === 'unauthenticated')
      session.close(Close.Unauthenticated, 'token not valid')
    throw error
  }
  if (identity.user !== session.user || identity.scopes)
    return session.close(Close.Unauthenticated, 'token of another user')
  session.identity = identity
}
