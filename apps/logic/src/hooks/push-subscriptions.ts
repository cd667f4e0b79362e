/** A user's own Web Push subscriptions, one for each device. */
import { createHash, ECDH } from 'node:crypto'
import { AppError, type logicRpc } from '@tidings/protocol'
import {
  deletePushSubscription as deleteRow,
  type NewPushSubscription,
  pushSubscriptionsOf,
  putPushSubscription as putRow,
} from '@tidings/store'
import { deviceOf, userOf } from '../input.js'
import { endpointOf } from './endpoints.js'
import { type HookDeps, requireServed } from './webhooks.js'

const MOST_OF_A_USER = 20
const AUTH = /^[A-Za-z0-9_-]{22}$/
const P256DH = /^B[A-Za-z0-9_-]{86}$/

const invalid = (message: string): AppError => new AppError('invalid_request', message)

/** Browsers give base64url; some libraries pad it, or write base64. */
const base64url = (text: string): string => text.replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '')

function keyOf(given: string): string {
  const key = base64url(given)
  try {
    if (!P256DH.test(key)) throw new Error('not 65 bytes')
    ECDH.convertKey(Buffer.from(key, 'base64url'), 'prime256v1')
    return key
  } catch (cause) {
    throw new AppError('invalid_request', 'keys.p256dh is not a P-256 public key in base64url.', { cause })
  }
}

function authOf(given: string): string {
  const auth = base64url(given)
  if (!AUTH.test(auth)) throw invalid('keys.auth is 16 bytes in base64url.')
  return auth
}

/** @throws AppError `invalid_request`, `limit_reached`, `unavailable` */
export async function putPushSubscription(
  deps: HookDeps,
  request: logicRpc.PutPushSubscriptionRequest,
): Promise<logicRpc.PushSubscription> {
  const endpoint = endpointOf('endpoint', request.endpoint, { http: false, privateToo: deps.hooks.allowPrivate })
  const row: NewPushSubscription = {
    user: userOf(request.user),
    device: deviceOf(request.device),
    endpoint,
    endpointHash: createHash('sha256').update(endpoint).digest('hex'),
    p256dh: keyOf(request.p256dh),
    auth: authOf(request.auth),
    createdAt: new Date(),
  }
  if (!deps.hooks.webPush)
    throw new AppError('unavailable', 'There is no Web Push here: TIDINGS_VAPID_PUBLIC_KEY is not set.')
  requireServed(deps)
  if (!(await putRow(deps.store, row, MOST_OF_A_USER)))
    throw new AppError('limit_reached', `You have ${MOST_OF_A_USER} devices with a subscription. Delete one first.`)
  return toSubscription(row)
}

const toSubscription = ({ device, endpoint, createdAt }: NewPushSubscription): logicRpc.PushSubscription => ({
  device,
  host: new URL(endpoint).host,
  createdAt: createdAt.getTime(),
})

/** @throws AppError `invalid_request`, `unavailable` */
export async function listPushSubscriptions(
  { store }: HookDeps,
  { user }: logicRpc.ListPushSubscriptionsRequest,
): Promise<logicRpc.ListPushSubscriptionsResponse> {
  return { subscriptions: (await pushSubscriptionsOf(store, userOf(user))).map(toSubscription) }
}

/** @throws AppError `not_found`, `invalid_request`, `unavailable`: repeat it */
export async function deletePushSubscription(
  { store }: HookDeps,
  { user, device }: logicRpc.DeletePushSubscriptionRequest,
): Promise<void> {
  if (!(await deleteRow(store, userOf(user), deviceOf(device))))
    throw new AppError('not_found', 'This device of yours has no push subscription.')
}
