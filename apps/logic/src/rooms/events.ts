/** A change of a room as its entry tells it, and as its append changes who is in the room. */
import { type RoomEvent, roomEventClientId } from '@tidings/protocol'
import type { RoomRow, RoomWrite } from '@tidings/store'
import type { MemberChange, RoomHistory } from '@tidings/stream'
import type { Plan } from './rules.js'

/** @param room as it was before */
export function toWrite(plan: Plan, room: Pick<RoomRow, 'version' | 'history'>, by: string, now: Date): RoomWrite {
  const { add, set, remove, ended } = plan
  const version = room.version + 1
  return {
    ...{ by, now, add, set, remove, ended, room: plan.room },
    entry: {
      clientId: roomEventClientId(version),
      type: 'system',
      content: JSON.stringify(toEvent(plan, version, by)),
      change: JSON.stringify(toMemberChange(plan, version, (plan.room?.history ?? room.history) as RoomHistory)),
    },
  }
}

function toEvent({ change, add = [], set = [], remove = [], room }: Plan, version: number, by: string): RoomEvent {
  const special = add
    .filter(({ role, mutedUntil }) => role !== 'member' || mutedUntil !== 0)
    .map(({ user, role, mutedUntil }) => ({ user, role, ...(mutedUntil !== 0 && { mutedUntil }) }))
  const members = [...special, ...set]
  return {
    ...{ event: 'room', change, version, by },
    ...(add.length > 0 && { joined: add.map(({ user }) => user) }),
    ...(remove.length > 0 && { left: remove }),
    ...(members.length > 0 && { members }),
    ...(room && { room }),
  }
}

function toMemberChange(plan: Plan, version: number, history: RoomHistory): MemberChange {
  const { add = [], set = [], remove = [], ended } = plan
  return {
    ...{ version, history },
    joined: add.map(({ user, mutedUntil }) => ({ user, mutedUntil })),
    muted: set.flatMap(({ user, mutedUntil }) => (mutedUntil === undefined ? [] : [{ user, mutedUntil }])),
    left: remove,
    ...(ended && { ended }),
  }
}
