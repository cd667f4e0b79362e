/** RPC methods to functions, measured; no rule is here. */
import { type logicRpc, toAppError, toRefusal } from '@tidings/protocol'
import type { Tracing } from '@tidings/service'
import type { Generations } from '@tidings/stream'
import { readAccount } from './account-data.js'
import { type AccountDeps, login, makeUser, register } from './accounts.js'
import { block, listBlocks, unblock } from './blocks.js'
import type { Broadcasts } from './broadcasts.js'
import { authorizeChange, type ChangeDeps } from './changes.js'
import { type ConversationDeps, listConversations } from './conversations.js'
import { ack, type CursorDeps, openDevices } from './cursors.js'
import { type DeviceListDeps, listDevices, removeDevice } from './device-list.js'
import type { FileDeps } from './files/files.js'
import { fileMethods } from './files/service.js'
import { setFlags } from './flags.js'
import { fateOf, leapAll, openPartition } from './generations.js'
import { type HistoryDeps, readHistory } from './history.js'
import { hookMethods } from './hooks/service.js'
import type { HookDeps } from './hooks/webhooks.js'
import { readLeftRooms } from './left-rooms.js'
import type { Line } from './line.js'
import { getMessage } from './message-state.js'
import { inspectMessage, type MessageTraceDeps } from './message-trace.js'
import type { LogicMetrics } from './metrics.js'
import { type OfflineDeps, readOffline } from './offline.js'
import type { Outcome } from './outcome.js'
import { permits } from './permit.js'
import { type PresenceDeps, presence } from './presence.js'
import { read } from './reads.js'
import type { RoomDeps } from './rooms/change.js'
import { roomMethods } from './rooms/service.js'
import { type SearchDeps, searchMessages } from './search.js'
import { endSessions, listSessions } from './session-ends.js'
import { logout, refresh } from './sessions.js'
import { deleteUser, getUser, inspectUser, missingUsers, seeUsers, setUserDisabled, updateUser } from './users.js'

export type LogicDeps = AccountDeps &
  CursorDeps &
  ConversationDeps &
  HistoryDeps &
  OfflineDeps &
  SearchDeps &
  RoomDeps &
  FileDeps &
  ChangeDeps &
  MessageTraceDeps &
  DeviceListDeps &
  PresenceDeps &
  HookDeps & { generations: Generations; broadcasts: Broadcasts; roomSearches: Line }

export function createLogicService(
  deps: LogicDeps,
  metrics: LogicMetrics,
  tracing: Tracing,
): logicRpc.LogicServiceImplementation {
  function measured<Request, Response>(name: string, run: (request: Request) => Promise<Response>) {
    const stage = metrics.method(name)
    return async (request: Request): Promise<Response> => {
      const began = performance.now()
      const span = tracing.start(`logic ${name}`, '')
      try {
        const response = await run(request)
        stage.done(performance.now() - began)
        span.end()
        return response
      } catch (error) {
        stage.failed(toAppError(error).code)
        span.end(error)
        throw error
      }
    }
  }
  /** A method that answers item by item. */
  function measuredEach<Request, Item, Response>(
    name: string,
    run: (request: Request) => Promise<Outcome<Item>[]>,
    toResponse: (outcomes: readonly Outcome<Item>[]) => Response,
  ) {
    const stage = metrics.method(name)
    return measured(name, async (request: Request) => {
      const outcomes = await run(request)
      for (const { error } of outcomes) {
        if (!error) continue
        stage.failed(error.code)
        if (error.code === 'internal')
          deps.log.error({ err: error.cause ?? error, method: name }, 'an item of a call failed')
      }
      return toResponse(outcomes)
    })
  }
  return {
    ...roomMethods(deps, measured),
    ...fileMethods(deps, measured),
    ...hookMethods(deps, measured),
    register: measured('register', async (request: logicRpc.RegisterRequest) => ({
      grant: await register(deps, request),
    })),
    login: measured('login', async (request: logicRpc.LoginRequest) => ({ grant: await login(deps, request) })),
    refresh: measured('refresh', async (request: logicRpc.RefreshRequest) => ({ grant: await refresh(deps, request) })),
    logout: measured('logout', async (request: logicRpc.LogoutRequest) => {
      await logout(deps, request)
      return {}
    }),
    seeUsers: measuredEach(
      'seeUsers',
      (request: logicRpc.SeeUsersRequest) => seeUsers(deps, request),
      (outcomes) => ({ users: outcomes.map(({ error }) => ({ refusal: error && toRefusal(error) })) }),
    ),
    missingUsers: measured('missingUsers', async (request: logicRpc.MissingUsersRequest) => ({
      users: await missingUsers(deps.store, request),
    })),
    getUser: measured('getUser', async (request: logicRpc.GetUserRequest) => ({
      user: await getUser(deps.store, request),
    })),
    readAccount: measured('readAccount', (request: logicRpc.ReadAccountRequest) => readAccount(deps.store, request)),
    readLeftRooms: measured('readLeftRooms', (request: logicRpc.ReadLeftRoomsRequest) => readLeftRooms(deps, request)),
    updateUser: measured('updateUser', async (request: logicRpc.UpdateUserRequest) => ({
      user: await updateUser(deps.store, request),
    })),
    deleteUser: measured('deleteUser', async (request: logicRpc.DeleteUserRequest) => {
      await deleteUser(deps, request)
      return {}
    }),
    setUserDisabled: measured('setUserDisabled', async (request: logicRpc.SetUserDisabledRequest) => {
      await setUserDisabled(deps, request)
      return {}
    }),
    makeUser: measured('makeUser', async (request: logicRpc.MakeUserRequest) => ({
      user: await makeUser(deps, request),
    })),
    inspectUser: measured('inspectUser', (request: logicRpc.InspectUserRequest) => inspectUser(deps.store, request)),
    listSessions: measured('listSessions', (request: logicRpc.ListSessionsRequest) => listSessions(deps, request)),
    endSessions: measured('endSessions', async (request: logicRpc.EndSessionsRequest) => {
      await endSessions(deps, request)
      return {}
    }),
    listDevices: measured('listDevices', (request: logicRpc.ListDevicesRequest) => listDevices(deps, request)),
    removeDevice: measured('removeDevice', async (request: logicRpc.RemoveDeviceRequest) => {
      await removeDevice(deps, request)
      return {}
    }),
    inspectMessage: measured('inspectMessage', (request: logicRpc.InspectMessageRequest) =>
      inspectMessage(deps, request),
    ),
    block: measured('block', async (request: logicRpc.BlockRequest) => {
      await block(deps, request)
      return {}
    }),
    unblock: measured('unblock', async (request: logicRpc.UnblockRequest) => {
      await unblock(deps.store, request)
      return {}
    }),
    listBlocks: measured('listBlocks', (request: logicRpc.ListBlocksRequest) => listBlocks(deps.store, request)),
    permits: measuredEach(
      'permits',
      (request: logicRpc.PermitsRequest) => permits(deps, request),
      (outcomes) => ({
        permits: outcomes.map(({ value, error }) => ({ ...value, refusal: error && toRefusal(error) })),
      }),
    ),
    listConversations: measured('listConversations', (request: logicRpc.ListConversationsRequest) =>
      listConversations(deps, request),
    ),
    setFlags: measured('setFlags', (request: logicRpc.SetFlagsRequest) => setFlags(deps, request)),
    readHistory: measured('readHistory', (request: logicRpc.ReadHistoryRequest) => readHistory(deps, request)),
    searchMessages: measured('searchMessages', (request: logicRpc.SearchMessagesRequest) =>
      searchMessages(deps, request),
    ),
    openDevices: measuredEach(
      'openDevices',
      (request: logicRpc.OpenDevicesRequest) => openDevices(deps, request),
      (outcomes) => ({
        devices: outcomes.map(({ value = [], error }) => ({ positions: value, refusal: error && toRefusal(error) })),
      }),
    ),
    ack: measured('ack', async (request: logicRpc.AckRequest) => {
      await ack(deps, request)
      return {}
    }),
    read: measured('read', async (request: logicRpc.ReadRequest) => {
      await read(deps, request)
      return {}
    }),
    readOffline: measured('readOffline', (request: logicRpc.ReadOfflineRequest) => readOffline(deps, request)),
    openGeneration: measured('openGeneration', async (request: logicRpc.OpenGenerationRequest) => {
      await openPartition(deps, request)
      return {}
    }),
    leap: measured('leap', async (request: logicRpc.LeapRequest) => ({ unused: await leapAll(deps, request) })),
    fateOf: measured('fateOf', async (request: logicRpc.FateOfRequest) => ({
      fates: await fateOf(deps.store, request),
    })),
    getMessage: measured('getMessage', (request: logicRpc.GetMessageRequest) => getMessage(deps, request)),
    authorizeChange: measured('authorizeChange', (request: logicRpc.AuthorizeChangeRequest) =>
      authorizeChange(deps, request),
    ),
    presence: measured('presence', (request: logicRpc.PresenceRequest) => presence(deps, request)),
  }
}
