/** Webhooks: made, listed, changed and ended for a team's own servers. Who may call, the edge has checked. */
import { randomBytes } from 'node:crypto'
import { AppError, type logicRpc, ROOM_ID } from '@tidings/protocol'
import {
  allWebhooks,
  changeWebhook,
  countDead,
  countDue,
  deadDeliveries,
  deleteWebhook as deleteRow,
  findWebhook,
  insertWebhook,
  retryDeliveries as retryRows,
  type Store,
  type WebhookChange,
  type WebhookRow,
} from '@tidings/store'
import { limitOf, oneOf, userOf } from '../input.js'
import { endpointOf } from './endpoints.js'

const MOST_WEBHOOKS = 100
/** Rooms, and users, that one webhook may name. */
const MOST_NAMED = 200
const EVENTS = ['message', 'room', 'receipt', 'presence'] as const
const DEAD_LIMIT = { default: 50, max: 200 }
const MOST_RETRIED = 1_000
/** Standard Webhooks: 24 to 64 bytes. */
const SECRET = /^whsec_[A-Za-z0-9+/]{32,88}={0,2}$/
const SECRET_BYTES = 32
const MOST_OVERLAP_S = 2_592_000

export interface HookDeps {
  store: Store
  hooks: {
    /** http and private addresses are allowed. */
    allowPrivate: boolean
    /** How long a secret that was replaced goes on signing, unless a call says otherwise. */
    secretOverlapS: number
    webPush: boolean
    /** Does a worker that is listed now serve the group notify? */
    served(): boolean
  }
}

const invalid = (message: string): AppError => new AppError('invalid_request', message)
const notFound = (): AppError => new AppError('not_found', 'There is no such webhook.')

/** @throws AppError `unavailable`: what is made now would never be told anything */
export function requireServed({ hooks }: HookDeps): void {
  if (hooks.served()) return
  throw new AppError('unavailable', 'No worker serves notify now. List it in TIDINGS_TASK_GROUPS.', { retryAfter: 5 })
}

const urlOf = ({ hooks }: HookDeps, given: string): string =>
  endpointOf('url', given, { http: hooks.allowPrivate, privateToo: hooks.allowPrivate })

function eventsOf(given: readonly string[]): string[] {
  if (given.length === 0) throw invalid(`events names at least one of ${EVENTS.join(', ')}.`)
  return [...new Set(given.map((one) => oneOf('events', EVENTS, one)))]
}

function named<Id extends string>(what: string, given: readonly Id[], check: (id: Id) => Id): Id[] {
  if (given.length > MOST_NAMED) throw invalid(`${what} names at most ${MOST_NAMED}.`)
  return [...new Set(given.map(check))]
}

function roomOf(id: string): string {
  if (!ROOM_ID.test(id)) throw invalid('A room is named by its id, 16 characters.')
  return id
}

function secretOf(given: string): string {
  const bytes = Buffer.from(given.slice('whsec_'.length), 'base64').length
  if (!SECRET.test(given) || bytes < 24 || bytes > 64)
    throw invalid('secret is whsec_ and 24 to 64 random bytes in base64.')
  return given
}

/** @throws AppError `invalid_request`, `limit_reached`, `unavailable` */
export async function createWebhook(
  deps: HookDeps,
  request: logicRpc.CreateWebhookRequest,
): Promise<logicRpc.CreateWebhookResponse> {
  const row: WebhookRow = {
    id: `wh_${randomBytes(12).toString('base64url')}`,
    url: urlOf(deps, request.url),
    events: eventsOf(request.events),
    rooms: named('rooms', request.rooms, roomOf),
    users: named('users', request.users, userOf),
    secret: request.secret === '' ? `whsec_${randomBytes(SECRET_BYTES).toString('base64')}` : secretOf(request.secret),
    oldSecret: null,
    oldSecretUntil: null,
    createdBy: request.service,
    createdAt: new Date(),
    disabledAt: null,
    disabledBecause: null,
    dropped: 0,
  }
  requireServed(deps)
  if (!(await insertWebhook(deps.store, row, MOST_WEBHOOKS)))
    throw new AppError('limit_reached', `There are ${MOST_WEBHOOKS} webhooks, and no more may be made.`)
  return { webhook: toWebhook(row), secret: row.secret }
}

const toWebhook = (row: WebhookRow, due = 0, dead = 0): logicRpc.Webhook => ({
  id: row.id,
  url: row.url,
  events: [...row.events],
  rooms: [...row.rooms],
  users: [...row.users],
  enabled: row.disabledAt === null,
  disabledBecause: row.disabledBecause ?? '',
  createdAt: row.createdAt.getTime(),
  createdBy: row.createdBy,
  due,
  dead,
  dropped: row.dropped,
  oldSecretUntil: oldOf(row, Date.now()) === null ? 0 : row.oldSecretUntil!.getTime(),
})

/** The secret before, while it still signs. */
const oldOf = ({ oldSecret, oldSecretUntil }: WebhookRow, now: number): string | null =>
  oldSecretUntil !== null && oldSecretUntil.getTime() > now ? oldSecret : null

/**
 * With which secrets it is signed from now on. A secret that is the present one already is a repeated call, and makes nothing old; one
 * that has ended does not come back.
 */
function secretsOf(
  before: WebhookRow,
  secret: string,
  overlapS: number | undefined,
  byDefaultS: number,
): Pick<WebhookChange, 'secret' | 'oldSecret' | 'oldSecretUntil'> {
  const replaced = secret !== '' && secret !== before.secret
  const forS = overlapS ?? (replaced ? byDefaultS : undefined)
  if (forS === undefined) return {}
  const now = Date.now()
  const old = replaced ? before.secret : oldOf(before, now)
  const ended = old === null || forS === 0
  return {
    ...(replaced && { secret }),
    oldSecret: ended ? null : old,
    oldSecretUntil: ended ? null : new Date(now + forS * 1_000),
  }
}

/** @throws AppError `unavailable` */
export async function listWebhooks({ store }: HookDeps): Promise<logicRpc.ListWebhooksResponse> {
  const rows = await allWebhooks(store)
  const [due, dead] = await Promise.all([countDue(store), countDead(store)])
  return { webhooks: rows.map((row) => toWebhook(row, due.get(row.id), dead.get(row.id))) }
}

/** @throws AppError `not_found`, `invalid_request`, `unavailable`: repeat it */
export async function updateWebhook(deps: HookDeps, request: logicRpc.UpdateWebhookRequest): Promise<logicRpc.Webhook> {
  const { id, url, events, rooms, users, enabled, oldSecretForS } = request
  const secret = request.secret === '' ? '' : secretOf(request.secret)
  if (oldSecretForS !== undefined && oldSecretForS > MOST_OVERLAP_S)
    throw invalid(`oldSecretFor is at most ${MOST_OVERLAP_S} seconds.`)
  const change: WebhookChange = {
    ...(url !== '' && { url: urlOf(deps, url) }),
    ...(events.length > 0 && { events: eventsOf(events) }),
    ...(rooms && { rooms: named('rooms', rooms.ids, roomOf) }),
    ...(users && { users: named('users', users.ids, userOf) }),
    ...(enabled === true && { disabledAt: null, disabledBecause: null }),
    ...(enabled === false && { disabledAt: new Date(), disabledBecause: 'operator' }),
  }
  const changed = await changeWebhook(deps.store, id, (before) => ({
    ...change,
    ...secretsOf(before, secret, oldSecretForS, deps.hooks.secretOverlapS),
  }))
  if (!changed) throw notFound()
  return toWebhook(changed)
}

/** @throws AppError `not_found`, `unavailable`: repeat it */
export async function deleteWebhook({ store }: HookDeps, { id }: logicRpc.DeleteWebhookRequest): Promise<void> {
  if (!(await deleteRow(store, id))) throw notFound()
}

async function required(store: Store, id: string): Promise<WebhookRow> {
  const row = await findWebhook(store, id)
  if (!row) throw notFound()
  return row
}

/** @throws AppError `not_found`, `invalid_request`, `unavailable` */
export async function listDeadDeliveries(
  { store }: HookDeps,
  request: logicRpc.ListDeadDeliveriesRequest,
): Promise<logicRpc.ListDeadDeliveriesResponse> {
  await required(store, request.webhook)
  const limit = limitOf(request.limit, DEAD_LIMIT)
  const rows = await deadDeliveries(store, request.webhook, idOf(request.cursor || '0'), limit + 1)
  const page = rows.slice(0, limit)
  return {
    deliveries: page.map(({ id, eventId, body, tries, createdAt, deadAt, lastError }) => ({
      ...{ id: String(id), event: eventId, body, tries, reason: lastError },
      ...{ createdAt: createdAt.getTime(), deadAt: deadAt.getTime() },
    })),
    nextCursor: rows.length > limit ? String(page.at(-1)!.id) : '',
  }
}

function idOf(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw invalid('This is not the id of a delivery.')
  return Number(text)
}

/** @throws AppError `not_found`, `invalid_request`, `unavailable`: repeat it */
export async function retryDeliveries(
  { store }: HookDeps,
  { webhook, ids }: logicRpc.RetryDeliveriesRequest,
): Promise<logicRpc.RetryDeliveriesResponse> {
  if (ids.length > MOST_RETRIED) throw invalid(`At most ${MOST_RETRIED} in one call.`)
  await required(store, webhook)
  const wanted = ids.length === 0 ? undefined : ids.map(idOf)
  return { retried: await retryRows(store, webhook, wanted, new Date()) }
}
