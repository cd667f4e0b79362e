/** Devices: one's own, and anybody's for operators. */
import { DEVICE, USER_ID } from '@tidings/protocol'
import type { onRequestHookHandler } from 'fastify'
import { Type } from 'typebox'
import type { Api, ApiDeps } from '../api.js'
import { requireUser } from '../auth.js'
import { ADMIN_CODES, matching, problems, SIGNED, SIGNED_IN, TOKEN_CODES } from '../schemas.js'

const PAGE = 50
const strict = { additionalProperties: false } as const
const device = matching(DEVICE, 'The name of the device.')
const user = matching(USER_ID, 'The id of the user.')

const query = Type.Object(
  {
    cursor: Type.Optional(Type.String({ maxLength: 64, description: 'nextCursor of the page before.' })),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 200, default: PAGE })),
  },
  strict,
)

const Devices = Type.Object(
  {
    devices: Type.Array(
      Type.Object(
        {
          device,
          createdAt: Type.Integer({ description: 'When it was first seen, in milliseconds since 1970.' }),
          lastSeen: Type.Union([Type.Integer(), Type.Null()], {
            description: 'When it last acknowledged something new, to about a second; null: never.',
          }),
          online: Type.Boolean({ description: 'It has a live session.' }),
          conversations: Type.Integer({ description: 'In how many it has acknowledged something.' }),
        },
        strict,
      ),
    ),
    nextCursor: Type.Union([Type.String(), Type.Null()], { description: 'For the next page; null at the end.' }),
  },
  { description: 'A page of devices, by name.', ...strict },
)

const REMOVED =
  'Its sessions end, its open socket closes with 4410, and where it stood is forgotten: coming back it is a new device, which starts after what the others have acknowledged.'

async function page(
  { logic }: ApiDeps,
  of: string,
  { cursor = '', limit = PAGE }: { cursor?: string; limit?: number },
) {
  const { devices, nextCursor } = await logic.listDevices({ user: of, cursor, limit })
  return {
    devices: devices.map((one) => ({ ...one, lastSeen: one.lastSeen === 0 ? null : one.lastSeen })),
    nextCursor: nextCursor === '' ? null : nextCursor,
  }
}

export function deviceRoutes(app: Api, deps: ApiDeps, authenticate: onRequestHookHandler): void {
  app.get(
    '/me/devices',
    {
      onRequest: authenticate,
      schema: {
        operationId: 'listDevices',
        tags: ['users'],
        summary: 'My devices',
        description:
          'Each with when it was last heard of. A device that is gone holds nothing up; its cursors are kept.',
        security: SIGNED_IN,
        querystring: query,
        response: { 200: Devices, ...problems(...TOKEN_CODES) },
      },
    },
    async (request) => await page(deps, requireUser(request.identity), request.query),
  )

  app.delete(
    '/me/devices/:device',
    {
      onRequest: authenticate,
      schema: {
        operationId: 'removeDevice',
        tags: ['users'],
        summary: 'Remove a device of mine',
        description: REMOVED,
        security: SIGNED_IN,
        params: Type.Object({ device }),
        response: {
          204: Type.Null({ description: 'The device is gone.' }),
          ...problems(...TOKEN_CODES, 'device_not_found'),
        },
      },
    },
    async (request, reply) => {
      await deps.logic.removeDevice({ user: requireUser(request.identity), device: request.params.device })
      return reply.code(204).send(null)
    },
  )
}

export function adminDeviceRoutes(app: Api, deps: ApiDeps): void {
  app.get(
    '/admin/users/:user/devices',
    {
      schema: {
        operationId: 'adminListDevices',
        tags: ['admin'],
        summary: 'Devices of a user',
        description: 'As the user sees them.',
        security: SIGNED,
        params: Type.Object({ user }),
        querystring: query,
        response: { 200: Devices, ...problems(...ADMIN_CODES) },
      },
    },
    async (request) => await page(deps, request.params.user, request.query),
  )

  app.delete(
    '/admin/users/:user/devices/:device',
    {
      schema: {
        operationId: 'adminRemoveDevice',
        tags: ['admin'],
        summary: 'Remove a device of a user',
        description: REMOVED,
        security: SIGNED,
        params: Type.Object({ user, device }),
        response: {
          204: Type.Null({ description: 'The device is gone.' }),
          ...problems(...ADMIN_CODES, 'device_not_found'),
        },
      },
    },
    async (request, reply) => {
      await deps.logic.removeDevice(request.params)
      return reply.code(204).send(null)
    },
  )
}
