/** Who is online. */
import { AppError, USER_ID } from '@tidings/protocol'
import type { onRequestHookHandler } from 'fastify'
import { Type } from 'typebox'
import type { Api, ApiDeps } from '../api.js'
import { requireUser } from '../auth.js'
import { problems, SIGNED_IN, TOKEN_CODES } from '../schemas.js'

const strict = { additionalProperties: false } as const
const MOST_USERS = 100
/** Names of 64 characters, and a comma behind each. */
const MAX_LENGTH = MOST_USERS * 65

const Person = Type.Object(
  {
    online: Type.Boolean({ description: 'Does the user have a live session?' }),
    devices: Type.Integer({ description: 'Devices with a live session.' }),
    lastSeen: Type.Union([Type.Integer(), Type.Null()], {
      description:
        'When the user was last here, in milliseconds since 1970; null while online, and when it is not known.',
    }),
  },
  strict,
)

export function presenceRoutes(app: Api, { logic }: ApiDeps, authenticate: onRequestHookHandler): void {
  app.get(
    '/presence',
    {
      onRequest: authenticate,
      schema: {
        operationId: 'getPresence',
        tags: ['users'],
        summary: 'Who is online',
        description:
          'Of the users that are named, those who share a conversation with me: a direct one in which something was said, or a room. The others are left out, whether they exist or not.',
        security: SIGNED_IN,
        querystring: Type.Object(
          {
            users: Type.String({
              minLength: 1,
              maxLength: MAX_LENGTH,
              description: `Up to ${MOST_USERS} users, with commas between them.`,
              examples: ['bob,carol'],
            }),
          },
          strict,
        ),
        response: {
          200: Type.Record(Type.String(), Person, {
            description: 'By user.',
            examples: [{ bob: { online: false, devices: 0, lastSeen: 1763700000000 } }],
          }),
          ...problems(...TOKEN_CODES),
        },
      },
    },
    async (request) => {
      const user = requireUser(request.identity)
      const users = usersOf(request.query.users)
      const { people } = await logic.presence({ user, users })
      return Object.fromEntries(
        people.map(({ user: id, online, devices, lastSeen }) => [
          id,
          { online, devices, lastSeen: lastSeen === 0 ? null : lastSeen },
        ]),
      )
    },
  )
}

function usersOf(list: string): string[] {
  const users = [...new Set(list.split(','))]
  if (users.length > MOST_USERS) throw new AppError('invalid_request', `users names at most ${MOST_USERS}.`)
  if (!users.every((user) => USER_ID.test(user))) {
    throw new AppError('invalid_request', 'users are ids of users, with commas and nothing else between them.')
  }
  return users
}
