/** What runs, and how far it is, for operators. */
import { GROUPS } from '@tidings/stream'
import { Type } from 'typebox'
import type { Api, ApiDeps } from '../api.js'
import { ADMIN_CODES, problems, SIGNED } from '../schemas.js'

const strict = { additionalProperties: false } as const
const tags = ['admin']

const Node = Type.Object(
  {
    app: Type.Enum(['api', 'logic', 'task', 'connect']),
    instance: Type.String({ description: 'Its name in etcd, logs and metrics.' }),
    address: Type.String({ description: 'host:port of its gRPC server, or of its public port where it has none.' }),
    version: Type.String(),
    bootId: Type.String({ description: 'New with every start.' }),
    groups: Type.Optional(Type.Array(Type.String(), { description: 'Of a task worker: the groups that it serves.' })),
    unable: Type.Optional(
      Type.Array(Type.String(), {
        description:
          'Of these the groups that it cannot serve now, because MySQL does not answer it: others have its share.',
      }),
    ),
  },
  strict,
)

const Partition = Type.Object(
  {
    group: Type.Enum([...GROUPS]),
    partition: Type.Integer(),
    owner: Type.Union([Type.String(), Type.Null()], { description: 'The worker; null where none is listed.' }),
    fence: Type.Union([Type.Integer(), Type.Null()]),
    lag: Type.Integer({ description: 'Entries not yet read.' }),
    pending: Type.Integer({ description: 'Entries read and not settled.' }),
    length: Type.Integer({ description: 'Entries in the stream.' }),
    oldest: Type.Union([Type.Integer(), Type.Null()], {
      description: 'When the oldest entry that is not settled was appended, in milliseconds since 1970; null: none.',
    }),
    dead: Type.Integer({ description: 'Dead letters.' }),
  },
  strict,
)

export function adminClusterRoutes(app: Api, { cluster }: ApiDeps): void {
  app.get(
    '/admin/nodes',
    {
      schema: {
        operationId: 'adminListNodes',
        tags,
        summary: 'What runs',
        description: 'Every process that etcd lists, and how many sessions are live on all connect nodes together.',
        security: SIGNED,
        querystring: Type.Object({}, strict),
        response: {
          200: Type.Object(
            { nodes: Type.Array(Node), sessions: Type.Integer({ description: 'Live sessions.' }) },
            { description: 'The processes, by app.', ...strict },
          ),
          ...problems(...ADMIN_CODES),
        },
      },
    },
    async () => await cluster.nodes(),
  )

  app.get(
    '/admin/partitions',
    {
      schema: {
        operationId: 'adminListPartitions',
        tags,
        summary: 'How far the groups are',
        description:
          'Of each group and partition: who owns it, under which fence, and what is not done yet. While etcd is away owners are unknown.',
        security: SIGNED,
        querystring: Type.Object({ group: Type.Optional(Type.Enum([...GROUPS])) }, strict),
        response: {
          200: Type.Object(
            {
              partitions: Type.Array(Partition),
              owners: Type.Boolean({ description: 'Whether etcd could be asked for the owners.' }),
            },
            { description: 'By group and partition.', ...strict },
          ),
          ...problems(...ADMIN_CODES),
        },
      },
    },
    async (request) => await cluster.partitions(request.query.group),
  )
}
