/** The devices of a user, as their owner or an operator lists and removes them. */
import { AppError, type logicRpc } from '@tidings/protocol'
import {
  deletePushSubscription,
  deviceActivity,
  liveSignIns,
  removeDevice as removeRows,
  revokeSessions,
  type Store,
} from '@tidings/store'
import type { Keys, Redis } from '@tidings/stream'
import type { Devices } from './devices.js'
import { deviceOf, limitOf, userOf } from './input.js'
import { loadScript } from './script.js'
import { endLive, type SessionEndDeps } from './session-ends.js'
import type { WriteBehind } from './write-behind.js'

const PAGE = { default: 50, max: 200 }
/** Among which one of the device is looked for. */
const MOST_SIGN_INS = 500
const forget = loadScript('remove-device.lua')

export interface DeviceListDeps extends SessionEndDeps {
  redis: Redis
  keys: Keys
  store: Store
  devices: Pick<Devices, 'listed'>
  writeBehind: Pick<WriteBehind, 'flush'>
}

/** A page by name. @throws AppError `invalid_request`, `unavailable` */
export async function listDevices(
  { devices, store, live }: DeviceListDeps,
  request: logicRpc.ListDevicesRequest,
): Promise<logicRpc.ListDevicesResponse> {
  const user = userOf(request.user)
  const limit = limitOf(request.limit, PAGE)
  const [listed, activity, sessions] = await Promise.all([
    devices.listed(user),
    deviceActivity(store, user),
    live.of(user),
  ])
  const online = new Set(sessions.map(({ device }) => device))
  const rest = [...listed].filter(([device]) => device > request.cursor).sort(([a], [b]) => (a < b ? -1 : 1))
  const page = rest.slice(0, limit).map(([device, createdAt]) => {
    const { lastMoved, conversations = 0 } = activity.get(device) ?? {}
    return { device, createdAt, lastSeen: lastMoved?.getTime() ?? 0, online: online.has(device), conversations }
  })
  return { devices: page, nextCursor: rest.length > limit ? page.at(-1)!.device : '' }
}

/**
 * Ends the sessions of a device and forgets where it stood; coming back it is a new one. First who may use it, then who does, then what
 * is known of it: an ack that is on its way is in before that. What is forgotten last is what says that there is something to do.
 * @throws AppError `device_not_found`, `invalid_request`, `unavailable`: repeat it
 */
export async function removeDevice(deps: DeviceListDeps, request: logicRpc.RemoveDeviceRequest): Promise<void> {
  const { redis, keys, store } = deps
  const user = userOf(request.user)
  const device = deviceOf(request.device)
  const now = new Date()
  const [listed, live, signIns] = await Promise.all([
    deps.devices.listed(user),
    deps.live.of(user),
    liveSignIns(store, user, now, MOST_SIGN_INS),
  ])
  const sessions = live.filter((one) => one.device === device)
  const isKnown = listed.has(device) || sessions.length > 0 || signIns.some((one) => one.device === device)
  if (!isKnown) throw new AppError('device_not_found')
  await deps.revocations.publish(await revokeSessions(store, { user, device }, now))
  await endLive(deps, user, sessions)
  await deps.writeBehind.flush()
  await removeRows(store, user, device)
  await deletePushSubscription(store, user, device)
  await forget(redis, [keys.devices(user), keys.cursor(user, device)], [device])
}
