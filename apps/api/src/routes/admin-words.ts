/** The word list, and the messages that were flagged by it, for operators. */
import { MAX_LIST_BYTES, MAX_LISTED_ROOMS, MAX_WORD_LENGTH, MAX_WORDS } from '@tidings/accept'
import { Type } from 'typebox'
import type { Api, ApiDeps } from '../api.js'
import { sendText } from '../reply.js'
import { ADMIN_CODES, BODY_CODES, problems, SIGNED } from '../schemas.js'
import { validatorCompiler } from '../validate.js'

const strict = { additionalProperties: false } as const
const tags = ['admin']

const Action = Type.Enum(['flag', 'mask', 'reject'])
const Word = Type.Union([
  Type.String({ minLength: 1, maxLength: MAX_WORD_LENGTH }),
  Type.Object(
    {
      word: Type.String({ minLength: 1, maxLength: MAX_WORD_LENGTH }),
      action: Type.Optional(Action),
      whole: Type.Optional(Type.Boolean()),
    },
    strict,
  ),
])
const Words = Type.Array(Word, { description: `Up to ${MAX_WORDS} in all, those of the rooms included.` })

const WordList = Type.Object(
  {
    words: Words,
    action: Type.Optional(
      Type.Enum(['flag', 'mask', 'reject'], { description: 'Of words that name none: mask when left out.' }),
    ),
    whole: Type.Optional(
      Type.Boolean({
        description: 'Words count only where no letter or digit stands beside them. false when left out.',
      }),
    ),
    ignore: Type.Optional(
      Type.Enum(['none', 'punctuation', 'all'], {
        description: 'What may stand between the letters of a word; all: also spaces. none when left out.',
      }),
    ),
    rooms: Type.Optional(
      Type.Record(
        Type.String(),
        Type.Object(
          { action: Type.Optional(Action), off: Type.Optional(Type.Boolean()), words: Type.Optional(Words) },
          strict,
        ),
        {
          description: `By room id, up to ${MAX_LISTED_ROOMS}: another action for all words, no filter, words besides.`,
        },
      ),
    ),
  },
  {
    description: `A word list, of up to ${MAX_LIST_BYTES} bytes as JSON.`,
    examples: [{ words: ['darn', { word: 'vile', action: 'reject' }], rooms: { gQ3vX0aLk81ZpR_e: { off: true } } }],
    ...strict,
  },
)
/** The list says itself where it is wrong: see accept's list.ts. */
const Anything = Type.Object({})

const FlaggedMessage = Type.Object(
  {
    id: Type.String({ description: 'The id of the message.' }),
    conversation: Type.String(),
    seq: Type.Integer(),
    from: Type.String({ description: 'A user; of what was pushed, `service:` and the name of the token.' }),
    type: Type.String(),
    sentAt: Type.Integer({ description: 'Milliseconds since 1970.' }),
    words: Type.Array(Type.String(), { description: 'What was found, as the list has it; up to 10.' }),
  },
  strict,
)

export function adminWordRoutes(app: Api, { words, flagged }: ApiDeps): void {
  app.get(
    '/admin/words',
    {
      schema: {
        operationId: 'adminGetWords',
        tags,
        summary: 'The word list',
        description: 'As it was written. Without one: a list with no words.',
        security: SIGNED,
        querystring: Type.Object({}, strict),
        response: { 200: WordList, ...problems(...ADMIN_CODES) },
      },
    },
    async (_request, reply) => sendText(reply, await words.read()),
  )

  app.put(
    '/admin/words',
    {
      bodyLimit: MAX_LIST_BYTES,
      config: { body: 'batch' },
      schema: {
        operationId: 'adminPutWords',
        tags,
        summary: 'Put a word list in force',
        description:
          'It takes the place of the one before, as a whole, on every process within 5 seconds. A list that cannot be used changes nothing.',
        security: SIGNED,
        body: WordList,
        response: {
          200: Type.Object(
            { words: Type.Integer({ description: 'Words of the list, those of the rooms included.' }) },
            { description: 'It is in etcd.', ...strict },
          ),
          ...problems(...BODY_CODES, ...ADMIN_CODES),
        },
      },
      validatorCompiler: (part) => validatorCompiler(part.httpPart === 'body' ? { ...part, schema: Anything } : part),
    },
    async (request) => ({ words: await words.write(request.text) }),
  )

  app.delete(
    '/admin/words',
    {
      schema: {
        operationId: 'adminDeleteWords',
        tags,
        summary: 'Take the word list away',
        description: 'Every message passes, on every process within 5 seconds.',
        security: SIGNED,
        response: { 204: Type.Null({ description: 'No word is looked for.' }), ...problems(...ADMIN_CODES) },
      },
    },
    async (_request, reply) => {
      await words.clear()
      return reply.code(204).send(null)
    },
  )

  app.get(
    '/admin/flagged',
    {
      schema: {
        operationId: 'adminListFlagged',
        tags,
        summary: 'Messages with a flagged word',
        description: 'The newest first. The last 10,000 are kept, in Redis.',
        security: SIGNED,
        querystring: Type.Object(
          {
            cursor: Type.Optional(
              Type.String({ pattern: '^[1-9]\\d{0,18}$', description: 'nextCursor of the page before.' }),
            ),
            limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 500, description: '100 when left out.' })),
          },
          strict,
        ),
        response: {
          200: Type.Object(
            { messages: Type.Array(FlaggedMessage), nextCursor: Type.Union([Type.String(), Type.Null()]) },
            { description: 'A page.', ...strict },
          ),
          ...problems(...ADMIN_CODES),
        },
      },
    },
    async ({ query: { cursor, limit = 100 } }) => {
      const messages = (await flagged.list(cursor, limit)).map((one) => ({ ...one, words: [...one.words] }))
      return { messages, nextCursor: messages.length < limit ? null : messages.at(-1)!.id }
    },
  )
}
