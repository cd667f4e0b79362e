/** The client of logic, over whatever logic processes etcd lists. */
import { type Balanced, balance, logicRpc } from '@tidings/protocol'
import type { Registry } from '@tidings/registry'

const DEADLINE_MS = 2_000

/** Methods that may run twice: a call that one process did not answer goes on to the next. */
const REPEATABLE = new Set([
  'login',
  'logout',
  'seeUser',
  'getUser',
  'updateUser',
  'deleteUser',
  'setUserDisabled',
  'block',
  'unblock',
  'listBlocks',
  'permit',
  'listConversations',
  'readHistory',
  'openDevice',
  'ack',
  'openGeneration',
  'leap',
  'fateOf',
  'read',
  'readOffline',
  'restoreMembers',
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

export type LogicClient = Balanced<logicRpc.LogicDefinition>['client']

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
    client: balanced.client,
    async check() {
      if (known === 0) throw new Error('etcd lists no logic process')
    },
    close: () => balanced.close(),
  }
}
