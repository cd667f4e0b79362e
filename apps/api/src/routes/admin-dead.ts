/** Dead letters, for operators. */
import { AppError } from '@tidings/protocol'
import { GROUPS, type LetterPlace } from '@tidings/stream'
import { Type } from 'typebox'
import { cursorOf, letterJson, parseCursor } from '../admin/dead.js'
import type { Api, ApiDeps } from '../api.js'
import { ADMIN_CODES, problems, SIGNED } from '../schemas.js'

const PAGE = 50
const strict = { additionalProperties: false } as const
const tags = ['admin']
const orNull = <T extends ReturnType<typeof Type.String> | ReturnType<typeof Type.Integer>>(type: T) =>
  Type.Union([type, Type.Null()])

const Letter = Type.Object(
  {
    group: Type.Enum([...GROUPS]),
    partition: Type.Integer(),
    id: Type.String({ description: 'In its dead stream: unique within group and partition.' }),
    at: Type.Integer({ description: 'When it was set aside, in milliseconds since 1970.' }),
    reason: Type.String({ description: 'Why it was given up.' }),
    deliveries: Type.Integer({ description: 'How often it was tried.' }),
    entry: Type.String({ description: 'The id that the entry had in the stream of its partition.' }),
    message: orNull(Type.String()),
    conversation: orNull(Type.String()),
    seq: orNull(Type.Integer()),
    from: orNull(Type.String()),
    type: orNull(Type.String()),
    content: Type.Optional(Type.String({ description: 'With content=true: what stood there, as text.' })),
  },
  strict,
)

const params = Type.Object({
  partition: Type.String({ pattern: '^\\d{1,4}$' }),
  group: Type.Enum([...GROUPS]),
  id: Type.String({ pattern: '^\\d{1,16}-\\d{1,16}$' }),
})

const placeOf = (given: { partition: string; group: LetterPlace['group']; id: string }): LetterPlace => ({
  ...given,
  partition: Number(given.partition),
})

const gone = (): AppError =>
  new AppError('letter_not_found', 'This letter is gone: put back or dropped, or never there.')

export function adminDeadRoutes(app: Api, { letters }: ApiDeps): void {
  app.get(
    '/admin/dead',
    {
      schema: {
        operationId: 'adminListDeadLetters',
        tags,
        summary: 'What the groups gave up on',
        description: 'By group and partition, the oldest first. What people wrote is shown with content=true alone.',
        security: SIGNED,
        querystring: Type.Object(
          {
            group: Type.Optional(Type.Enum([...GROUPS])),
            cursor: Type.Optional(Type.String({ maxLength: 64, description: 'nextCursor of the page before.' })),
            limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 100, default: PAGE })),
            content: Type.Optional(Type.Enum(['true', 'false'])),
          },
          strict,
        ),
        response: {
          200: Type.Object(
            { letters: Type.Array(Letter), nextCursor: orNull(Type.String()) },
            { description: 'A page of letters.', ...strict },
          ),
          ...problems(...ADMIN_CODES),
        },
      },
    },
    async (request) => {
      const { group, cursor, limit = PAGE, content } = request.query
      const page = await letters.list(group, cursor === undefined ? undefined : parseCursor(cursor), limit)
      const last = page.letters.at(-1)
      return {
        letters: page.letters.map((letter) => letterJson(letter, content === 'true')),
        nextCursor: page.more && last ? cursorOf(last) : null,
      }
    },
  )

  app.post(
    '/admin/dead/:partition/:group/:id/requeue',
    {
      schema: {
        operationId: 'adminRequeueDeadLetter',
        tags,
        summary: 'Put a letter back',
        description:
          'At the end of its stream, for all groups: they do nothing twice. What fails again is a new letter.',
        security: SIGNED,
        params,
        response: {
          200: Type.Object(
            { entry: Type.String({ description: 'Its new id in the stream of its partition.' }) },
            { description: 'It is in the stream again.', ...strict },
          ),
          ...problems(...ADMIN_CODES, 'letter_not_found'),
        },
      },
    },
    async (request) => {
      const entry = await letters.requeue(placeOf(request.params))
      if (entry === undefined) throw gone()
      return { entry }
    },
  )

  app.delete(
    '/admin/dead/:partition/:group/:id',
    {
      schema: {
        operationId: 'adminDropDeadLetter',
        tags,
        summary: 'Drop a letter',
        description: 'For good. Its seq stays a declared void.',
        security: SIGNED,
        params,
        response: {
          204: Type.Null({ description: 'It is gone.' }),
          ...problems(...ADMIN_CODES, 'letter_not_found'),
        },
      },
    },
    async (request, reply) => {
      if (!(await letters.drop(placeOf(request.params)))) throw gone()
      return reply.code(204).send(null)
    },
  )
}
