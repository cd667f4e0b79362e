/** What is known of a user beside what was said: for the user alone. */
import type { logicRpc } from '@tidings/protocol'
import { devicesOf, filesOf, type Store, sessionsOf } from '@tidings/store'
import { userOf } from './input.js'

/** More than people have; of sessions the newest. */
const MAX_DEVICES = 5_000
const MAX_SESSIONS = 5_000
const MAX_FILES = 20_000

/** @throws AppError `invalid_request`, `unavailable` */
export async function readAccount(
  store: Store,
  request: logicRpc.ReadAccountRequest,
): Promise<logicRpc.ReadAccountResponse> {
  const user = userOf(request.user)
  const [devices, sessions, files] = await Promise.all([
    devicesOf(store, user, MAX_DEVICES),
    sessionsOf(store, user, MAX_SESSIONS),
    filesOf(store, user, MAX_FILES),
  ])
  return {
    devices: devices.map(({ device, firstSeen }) => ({ device, firstSeen })),
    sessions: sessions.map(({ id, device, createdAt, expiresAt, revokedAt }) => ({
      ...{ id, device, createdAt: createdAt.getTime(), expiresAt: expiresAt.getTime() },
      revokedAt: revokedAt?.getTime() ?? 0,
    })),
    files: files.map(({ id, name, mediaType, size, createdAt }) => ({
      ...{ id, name, mediaType, size, createdAt: createdAt.getTime() },
    })),
  }
}
