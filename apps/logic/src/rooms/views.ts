/** Rooms and their members as callers see them. */
import type { logicRpc, Role } from '@tidings/protocol'
import type { MemberRow, RoomRow } from '@tidings/store'

/** @param role the caller's */
export const toRoom = (row: RoomRow, role: Role | ''): logicRpc.Room => ({
  id: row.id,
  name: row.name,
  kind: row.kind,
  visibility: row.visibility,
  history: row.history,
  members: row.memberCount,
  createdAt: row.createdAt.getTime(),
  endsAt: row.endsAt?.getTime() ?? 0,
  version: row.version,
  role,
  retentionDays: row.retentionDays,
})

/** @param displayName of the user */
export const toMember = (row: MemberRow, displayName: string): logicRpc.Member => ({
  user: row.user,
  displayName,
  role: row.role,
  mutedUntil: row.mutedUntil,
  joinedAt: row.createdAt.getTime(),
})
