/** The RPC methods of rooms to functions; no rule is here. */
import { AppError, type logicRpc } from '@tidings/protocol'
import type { Generations } from '@tidings/stream'
import type { Line } from '../line.js'
import type { RoomDeps } from './change.js'
import * as members from './members.js'
import * as rooms from './rooms.js'

type Measured = <Request, Response>(
  name: string,
  run: (request: Request) => Promise<Response>,
) => (request: Request) => Promise<Response>

const room = async (found: Promise<logicRpc.Room>) => ({ room: await found })
const nothing = async (done: Promise<void>) => {
  await done
  return {}
}

const MAX_RESTORED = 100

async function restoreAll(generations: Generations, { conversations }: logicRpc.RestoreMembersRequest): Promise<void> {
  if (conversations.length > MAX_RESTORED) throw new AppError('invalid_request', `At most ${MAX_RESTORED} rooms.`)
  for (const conversation of conversations) await generations.restoreMembers(conversation)
}

/** @param measured counts the calls of a method and how long they take */
export function roomMethods(deps: RoomDeps & { generations: Generations; roomSearches: Line }, measured: Measured) {
  return {
    createRoom: measured('createRoom', (request: logicRpc.CreateRoomRequest) => room(rooms.createRoom(deps, request))),
    getRoom: measured('getRoom', (request: logicRpc.GetRoomRequest) => room(rooms.getRoom(deps, request))),
    searchRooms: measured('searchRooms', (request: logicRpc.SearchRoomsRequest) => rooms.searchRooms(deps, request)),
    updateRoom: measured('updateRoom', (request: logicRpc.UpdateRoomRequest) => room(rooms.updateRoom(deps, request))),
    deleteRoom: measured('deleteRoom', (request: logicRpc.DeleteRoomRequest) =>
      nothing(rooms.deleteRoom(deps, request)),
    ),
    joinRoom: measured('joinRoom', (request: logicRpc.JoinRoomRequest) => room(members.joinRoom(deps, request))),
    leaveRoom: measured('leaveRoom', (request: logicRpc.LeaveRoomRequest) => nothing(members.leaveRoom(deps, request))),
    listMembers: measured('listMembers', (request: logicRpc.ListMembersRequest) => members.listMembers(deps, request)),
    addMembers: measured('addMembers', (request: logicRpc.AddMembersRequest) =>
      room(members.addMembers(deps, request)),
    ),
    setMember: measured('setMember', async (request: logicRpc.SetMemberRequest) => ({
      member: await members.setMember(deps, request),
    })),
    removeMember: measured('removeMember', (request: logicRpc.RemoveMemberRequest) =>
      nothing(members.removeMember(deps, request)),
    ),
    ban: measured('ban', (request: logicRpc.BanRequest) => nothing(members.ban(deps, request))),
    unban: measured('unban', (request: logicRpc.UnbanRequest) => nothing(members.unban(deps, request))),
    listBans: measured('listBans', (request: logicRpc.ListBansRequest) => members.listBans(deps, request)),
    restoreMembers: measured('restoreMembers', (request: logicRpc.RestoreMembersRequest) =>
      nothing(restoreAll(deps.generations, request)),
    ),
  }
}
