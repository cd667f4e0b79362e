/** One user, one message: all that is known of them, for operators. */
import { AppError, type logicRpc, USER_ID } from '@tidings/protocol'
import { GROUPS } from '@tidings/stream'
import { Type } from 'typebox'
import type { Api, ApiDeps } from '../api.js'
import { entryJson } from '../history-json.js'
import { sendText } from '../reply.js'
import { ADMIN_CODES, Message, matching, named, problems, SIGNED, User, UserId } from '../schemas.js'

const strict = { additionalProperties: false } as const
const tags = ['admin']
const timeOrNull = (description: string) => Type.Union([Type.Integer(), Type.Null()], { description })

const Account = Type.Object(
  {
    ...User.properties,
    disabledAt: timeOrNull('Since when the user may not act; null: may act.'),
    deletedAt: timeOrNull('When the account was deleted; null: it is there.'),
    hasPassword: Type.Boolean({ description: 'Signs in here, with a password.' }),
  },
  { description: 'The account.', ...strict },
)

const Trace = Type.Object(
  {
    message: named(Message),
    place: Type.Object(
      {
        partition: Type.Integer(),
        streamId: Type.Union([Type.String(), Type.Null()], {
          description: 'Its entry in the stream of the partition; null: that holds it no more.',
        }),
        logged: Type.Boolean({ description: 'The log in Redis has it.' }),
        stored: Type.Boolean({ description: 'MySQL has it.' }),
      },
      strict,
    ),
    routed: Type.Object(
      {
        nodes: Type.Array(
          Type.Object(
            {
              node: Type.String({ description: 'A connect node that a push brought it to.' }),
              at: Type.Integer({ description: 'When the first push of it came, by the clock of the node.' }),
              sessions: Type.Integer({ description: 'Live sessions that it was put to there.' }),
            },
            strict,
          ),
        ),
        forgotten: Type.Array(Type.String(), {
          description:
            'Nodes that cannot know: it is older than the newest 65,536 entries that came to them, or than they are.',
        }),
        unanswered: Type.Array(Type.String(), { description: 'Nodes that are listed and did not answer.' }),
      },
      {
        description:
          'What the connect nodes that are there now remember of pushing it. A node in no list knows that it did not come to it by a push. ' +
          'What a session read from the log is not counted.',
        ...strict,
      },
    ),
    groups: Type.Object(
      Object.fromEntries(
        GROUPS.map((group) => [group, Type.Boolean({ description: 'The group is surely through with it.' })]),
      ),
      strict,
    ),
    people: Type.Array(
      Type.Object(
        {
          user: UserId,
          read: Type.Boolean(),
          readAt: timeOrNull('When the read position moved last, to about a second; null: not read, or not known.'),
          devices: Type.Array(
            Type.Object(
              {
                device: Type.String(),
                cursor: Type.Integer({ description: 'What it has acknowledged of the conversation.' }),
                acknowledged: Type.Boolean(),
                movedAt: timeOrNull('When the cursor moved last, to about a second; null: never.'),
                node: Type.Union([Type.String(), Type.Null()], {
                  description: 'The connect node that holds a live session of it now; null: none, or etcd is away.',
                }),
              },
              strict,
            ),
            { description: 'The first fifty, by name.' },
          ),
        },
        strict,
      ),
      { description: 'Whom it is for, the sender included.' },
    ),
    allPeople: Type.Boolean({ description: 'False in rooms of more than 100 members: there nobody is listed.' }),
    nodesKnown: Type.Boolean({ description: 'Whether etcd could be asked for the nodes.' }),
  },
  { description: 'Where it is, and whom it has reached.', ...strict },
)

const orNull = <T extends number | string>(value: T): T | null => (value === 0 || value === '' ? null : value)

export function adminInspectRoutes(app: Api, { logic }: ApiDeps): void {
  app.get(
    '/admin/users/:id',
    {
      schema: {
        operationId: 'adminGetUser',
        tags,
        summary: 'An account',
        description: 'Also one that is disabled or deleted.',
        security: SIGNED,
        params: Type.Object({ id: matching(USER_ID, 'The id of the user.') }),
        querystring: Type.Object({}, strict),
        response: { 200: Account, ...problems(...ADMIN_CODES, 'user_not_found') },
      },
    },
    async (request) => {
      const { user, disabledAt, deletedAt, hasPassword } = await logic.inspectUser({ user: request.params.id })
      if (!user) throw new AppError('user_not_found')
      return { ...user, disabledAt: orNull(disabledAt), deletedAt: orNull(deletedAt), hasPassword }
    },
  )

  app.get(
    '/admin/messages/:id',
    {
      config: { audited: true },
      schema: {
        operationId: 'adminGetMessage',
        tags,
        summary: 'A message, and all that is known of it',
        description:
          'Where it lies, which groups are through with it, to which connect nodes it was pushed, and what each device of each person has of it. It shows what somebody wrote: the call is noted in the log.',
        security: SIGNED,
        params: Type.Object({
          id: Type.String({ pattern: '^[1-9]\\d{0,18}$', description: 'The id of the message.' }),
        }),
        querystring: Type.Object({}, strict),
        response: { 200: Trace, ...problems(...ADMIN_CODES, 'message_not_found') },
      },
    },
    async (request, reply) => sendText(reply, traceJson(await logic.inspectMessage({ id: request.params.id }))),
  )
}

/** The message as everywhere, its content as the very text that it is. */
function traceJson({ entry, ...trace }: logicRpc.InspectMessageResponse): string {
  const { partition, streamId, logged, stored, settledBy, people, allPeople, nodesKnown, ...of } = trace
  const rest = JSON.stringify({
    place: { partition, streamId: orNull(streamId), logged, stored },
    routed: { nodes: of.routed, forgotten: of.forgotten, unanswered: of.unanswered },
    groups: Object.fromEntries(GROUPS.map((group) => [group, settledBy.includes(group)])),
    people: people.map(({ user, read, readAt, devices }) => ({
      ...{ user, read, readAt: orNull(readAt) },
      devices: devices.map((one) => ({ ...one, movedAt: orNull(one.movedAt), node: orNull(one.node) })),
    })),
    allPeople,
    nodesKnown,
  })
  return `{"message":${entryJson(entry!)},${rest.slice(1)}`
}
