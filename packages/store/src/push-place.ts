/** Where devices are pushed to, as statements read it. */
import type { PushSubscriptionRow } from './push-subscriptions.js'

/** Where a device is pushed to, and the keys its browser opens it with. */
export type PushPlace = Pick<PushSubscriptionRow, 'id' | 'endpoint' | 'p256dh' | 'auth'>

export interface PushedDevice {
  user: string
  device: string
  subscription: PushPlace
}

/** Columns of `push_subscriptions AS s` that make a place. */
export const PLACE_COLUMNS = 's.id, s.user, s.device, s.endpoint, s.p256dh, s.auth'

/** The driver gives a BIGINT as text. */
export type PlaceColumns = { id: string; user: string; device: string } & Omit<PushPlace, 'id'>

export const toPushedDevice = ({ id, user, device, endpoint, p256dh, auth }: PlaceColumns): PushedDevice => ({
  ...{ user, device, subscription: { id: Number(id), endpoint, p256dh, auth } },
})
