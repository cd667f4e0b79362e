/** Sending. */
import type { Accepted, AcceptedAt, Draft, Identity } from '@tidings/accept'
import { AppError, CLIENT_ID, toAppError } from '@tidings/protocol'
import { traceparentOf } from '@tidings/service'
import type { FastifyRequest, onRequestHookHandler } from 'fastify'
import { Type } from 'typebox'
import type { Api, ApiDeps } from '../api.js'
import { type Cut, cutContents } from '../batch.js'
import { BATCH_BODY_LIMIT } from '../body.js'
import { problemOf } from '../problem.js'
import { sendText } from '../reply.js'
import type { RequestLog } from '../request-log.js'
import {
  BODY_CODES,
  matching,
  named,
  Problem,
  problems,
  SendMessage,
  Sent,
  SIGNED_IN,
  TOKEN_CODES,
} from '../schemas.js'
import { toDraft } from '../send.js'
import { createCheck, validatorCompiler } from '../validate.js'

const MAX_BATCH = 500
/** How long a send waits for MySQL, unless it says so itself. */
const WAIT_MS = 5_000
type Answered = Accepted & { reached?: 'accepted' | 'persisted' }
const tags = ['messages']

const SEND_CODES = [
  'invalid_content',
  'content_too_large',
  'user_not_found',
  'conversation_not_found',
  'blocked',
  'muted',
  'word_rejected',
  'message_rejected',
  'idempotency_conflict',
  'outcome_unknown',
] as const

const Headers = Type.Object({
  'idempotency-key': Type.Optional(matching(CLIENT_ID, 'The clientId, where the body has none.')),
})

const BATCH_SIZE = { minItems: 1, maxItems: MAX_BATCH } as const
const Batch = Type.Object(
  { messages: Type.Array(SendMessage, BATCH_SIZE) },
  {
    additionalProperties: false,
    examples: [
      {
        messages: [
          { to: { user: 'bob' }, content: { text: 'one' }, clientId: 'c-1' },
          { to: { user: 'carol' }, content: { text: 'two' }, clientId: 'c-2' },
        ],
      },
    ],
  },
)
/** What is checked of a batch as a whole; its messages are checked one by one. */
const Envelope = Type.Object({ messages: Type.Array(Type.Unknown(), BATCH_SIZE) }, { additionalProperties: false })

const Results = Type.Object(
  {
    results: Type.Array(Type.Union([named(Sent), named(Problem)]), {
      description: 'One per message, in their order: what POST /messages would have answered.',
    }),
  },
  { description: 'The batch was read. Each message has its own result.' },
)

/** An answer as the schema `Sent` describes it. Nothing of it needs escaping. */
const sentJson = ({ id, conversation, seq, sentAt, duplicate, reached }: Answered): string =>
  `{"id":"${id}","conversation":"${conversation}","seq":${seq},"sentAt":${sentAt},"duplicate":${duplicate}${
    reached === undefined ? '' : `,"reached":"${reached}"`
  }}`

export function messageRoutes(app: Api, deps: ApiDeps, authenticate: onRequestHookHandler, log: RequestLog): void {
  const { acceptor, persisted, rates, tracing } = deps

  app.post(
    '/messages',
    {
      onRequest: authenticate,
      config: { body: 'message', sends: true },
      schema: {
        operationId: 'sendMessage',
        tags,
        summary: 'Send a message',
        description:
          'To a user or a room. The answer means that the message is accepted: it will be stored and delivered. Give each message a ' +
          'clientId and repeat it after a 5xx, a timeout or a cut: it is accepted once.',
        security: SIGNED_IN,
        headers: Headers,
        body: SendMessage,
        response: { 202: named(Sent, 'Accepted.'), ...problems(...BODY_CODES, ...TOKEN_CODES, ...SEND_CODES) },
      },
      // Problems are sent as bytes.
      serializerCompiler: () => sentJson,
    },
    // Not async: a message has but the promise of its append.
    (request, reply) => {
      rates.send(request.identity)
      const idempotencyKey = request.headers['idempotency-key']
      const draft = toDraft(request.body, request.members.get('content'), request.identity, {
        idempotencyKey,
        trace: traceparentOf(request.headers.traceparent),
      })
      reply.code(202)
      return answered(tracing.enabled ? traced(draft) : acceptor.accept(draft), request.body)
    },
  )

  /** What was accepted stays so, whatever comes of the wait. */
  function answered(sending: Promise<AcceptedAt>, { wait, waitMs = WAIT_MS }: SendMessage): Promise<Answered> {
    if (wait === undefined) return sending
    return sending.then(async (accepted) => {
      const isPersisted = wait === 'persisted' && (await persisted.wait(accepted, waitMs))
      return { ...accepted, reached: isPersisted ? 'persisted' : 'accepted' }
    })
  }

  async function traced(draft: Draft): Promise<AcceptedAt> {
    const span = tracing.start('http send', draft.trace)
    try {
      const accepted = await acceptor.accept({ ...draft, trace: span.traceparent })
      span.end()
      return accepted
    } catch (error) {
      span.end(error)
      throw error
    }
  }

  const checkMessage = createCheck(SendMessage)

  /**
   * Up to the call of accept nothing waits: what is started in order is accepted in order.
   * @param message as it was parsed, not checked yet
   * @param content what was cut out for it
   */
  function sendOne(message: unknown, content: Cut, identity: Identity, trace: string): Promise<Answered> {
    try {
      checkMessage(message)
      if (content instanceof AppError) throw content
      const draft = toDraft(message as SendMessage, content, identity, { idempotencyKey: undefined, trace })
      draft.bulk = true
      return answered(tracing.enabled ? traced(draft) : acceptor.accept(draft), message as SendMessage)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  async function tooMany(identity: Identity): Promise<never> {
    throw rates.refusal(identity)
  }

  function toResult(settled: PromiseSettledResult<Answered>, request: FastifyRequest): string {
    if (settled.status === 'fulfilled') return sentJson(settled.value)
    const error = toAppError(settled.reason)
    log.failed(request, error)
    return JSON.stringify(problemOf(error))
  }

  app.post(
    '/messages/batch',
    {
      onRequest: authenticate,
      bodyLimit: BATCH_BODY_LIMIT,
      config: { body: 'batch', sends: true },
      schema: {
        operationId: 'sendMessages',
        tags,
        summary: 'Send up to 500 messages',
        description:
          'Each message is accepted or refused alone; where there are more than may be sent now, the last ones are refused. Those of one sender to one conversation keep their order. Look at every result: ' +
          'the 202 says only that the batch was read.',
        security: SIGNED_IN,
        body: Batch,
        response: { 202: Results, ...problems(...BODY_CODES, ...TOKEN_CODES) },
      },
      validatorCompiler: (part) => validatorCompiler(part.httpPart === 'body' ? { ...part, schema: Envelope } : part),
    },
    async (request, reply) => {
      const { identity } = request
      if (identity.scopes && !identity.scopes.has('send'))
        throw new AppError('forbidden', 'This service token does not have the scope send.')
      if (request.headers['idempotency-key'] !== undefined)
        throw new AppError(
          'invalid_request',
          'Idempotency-Key is for one message: give each of these its own clientId.',
        )
      const trace = traceparentOf(request.headers.traceparent)
      const contents = cutContents(request.text)
      const { messages } = request.body
      // The first ones: what a client sends in order is not thinned out.
      const admitted = rates.sends(identity, messages.length)
      const sends = messages.map((message, i) =>
        i < admitted ? sendOne(message, contents[i], identity, trace) : tooMany(identity),
      )
      const settled = await Promise.allSettled(sends)
      const results = settled.map((one) => toResult(one, request))
      return sendText(reply.code(202), `{"results":[${results.join(',')}]}`)
    },
  )
}
