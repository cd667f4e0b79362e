/** The client of logic, over whatever logic processes etcd lists. */
import { type Balanced, balance, fromRefusal, logicRpc } from '@tidings/protocol'
import type { Registry } from '@tidings/registry'
import { gather, OPENING_PACE } from '@tidings/service'

const DEADLINE_MS = 2_000
/** Newcomers, devices and permits in one call: what logic and we do for so many must not hold up what else there is to do. */
const BOUNDS = { mostPerCall: 32, callsAtOnce: 4, patienceMs: 20 }

/** Methods that may run twice: a call that one process did not answer goes on to the next. */
const REPEATABLE = new Set([
  'login',
  'logout',
  'seeUsers',
  'missingUsers',
  'getUser',
  'updateUser',
  'deleteUser',
  'setUserDisabled',
  'inspectUser',
  'listSessions',
  'listDevices',
  'inspectMessage',
  'block',
  'unblock',
  'listBlocks',
  'permits',
  'listConversations',
  'readAccount',
  'setFlags',
  'readHistory',
  'openDevices',
  'ack',
  'openGeneration',
  'leap',
  'fateOf',
  'read',
  'readOffline',
  'restoreMembers',
  'presence',
  'beginFile',
  'storeFile',
  'dropFile',
  'openFile',
  'useFiles',
  'deletedFiles',
  'forgetFiles',
  'getMessage',
  'listWebhooks',
  'updateWebhook',
  'listDeadDeliveries',
  'retryDeliveries',
  'putPushSubscription',
  'listPushSubscriptions',
  'authorizeChange',
  'getRoom',
  'searchRooms',
  'listMembers',
  'listBans',
  'updateRoom',
  'deleteRoom',
  'joinRoom',
  'leaveRoom',
  'addMembers',
  'setMember',
  'removeMember',
  'ban',
  'unban',
])

type Calls = Balanced<logicRpc.LogicDefinition>['client']

/** The calls of logic. Users are seen, devices opened and permits asked for one by one here, and together on the wire. */
export interface LogicClient extends Omit<Calls, 'seeUsers' | 'openDevices' | 'permits'> {
  /** @throws AppError `user_disabled`, `invalid_request`, `unavailable` */
  seeUser(request: { user: string }): Promise<unknown>
  /** @throws AppError `invalid_request`, `unavailable` */
  openDevice(request: logicRpc.DeviceName): Promise<{ positions: logicRpc.Position[] }>
  /** @throws AppError `user_not_found`, `user_disabled`, `forbidden`, `blocked`, `conversation_not_found`, `invalid_request`, `unavailable` */
  permit(request: { user: string; conversation: string }): Promise<{ ttlMs: number }>
}

export interface Logic {
  client: LogicClient
  /** Rejects while no logic process is listed. */
  check(): Promise<void>
  close(): void
}

/** @param token what our own processes show each other (`rpcToken`) */
export async function connectLogic(registry: Registry, token: string): Promise<Logic> {
  const balanced = balance(logicRpc.LogicDefinition, { token, deadlineMs: DEADLINE_MS, repeatable: REPEATABLE })
  let known = 0
  await registry.watchNodes('logic', (nodes) => {
    known = nodes.size
    balanced.setAddresses([...nodes.values()].map((node) => node.address))
  })
  return {
    client: together(balanced.client),
    async check() {
      if (known === 0) throw new Error('etcd lists no logic process')
    },
    close: () => balanced.close(),
  }
}

function together(calls: Calls): LogicClient {
  const seeUser = gather<string, unknown>(async (names) => {
    const { users } = await calls.seeUsers({ users: names })
    return users.map(({ refusal }) => refusal && fromRefusal(refusal))
  }, BOUNDS)
  const openDevice = gather<logicRpc.DeviceName, logicRpc.OpenedDevice>(
    async (names) => {
      const { devices } = await calls.openDevices({ devices: names })
      return devices.map((opened) => (opened.refusal ? fromRefusal(opened.refusal) : opened))
    },
    { ...BOUNDS, pace: OPENING_PACE },
  )
  const permit = gather<logicRpc.PermitRequest, logicRpc.PermitResponse>(async (asked) => {
    const { permits } = await calls.permits({ permits: asked })
    return permits.map((one) => (one.refusal ? fromRefusal(one.refusal) : one))
  }, BOUNDS)
  return { ...calls, seeUser: ({ user }) => seeUser(user), openDevice, permit }
}
