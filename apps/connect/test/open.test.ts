import type { Identity } from '@tidings/accept'
import type { ListedSession } from '@tidings/registry'
import { createLogger } from '@tidings/service'
import t from 'tap'
import { Connection, type ConnectionDeps } from '../src/connection.js'
import { endLate, type OpenDeps } from '../src/open.js'
import { Session } from '../src/session.js'
import { createSessions } from '../src/sessions.js'
import { createSlots } from '../src/slots.js'
import type { Socket, UpgradeRequest } from '../src/transport.js'
import { until } from './until.js'

const immediate = () => new Promise((resolve) => setImmediate(resolve))
/** What was asked is answered in one turn of the event loop, and leaves at the end of the next one. */
const turn = async () => {
  await immediate()
  await immediate()
}

t.test('of many who come at once a few are let in, and the others are sent away before anything is done', async (t) => {
  const verified: string[] = []
  const listed: string[] = []
  const asked: (() => void)[] = []
  const opening: OpenDeps = {
    node: 'connect-1',
    heartbeatMs: 25_000,
    limits: {
      sendsPerS: Number.POSITIVE_INFINITY,
      perUser: Number.POSITIVE_INFINITY,
      perAddress: Number.POSITIVE_INFINITY,
      sessionsPerUser: 0,
      policy: 'refuse',
      set: () => undefined,
    },
    maxFrameBytes: 1,
    sessions: createSessions(),
    lister: {
      async list({ user }) {
        listed.push(user)
        return []
      },
      unlist: () => undefined,
      waiting: 0,
      behind: false,
      stop: async () => undefined,
    },
    nodes: { client: () => undefined },
    logic: {
      openDevice: () => new Promise((resolve) => asked.push(() => resolve({ positions: [] }))),
    },
    acks: { add: () => undefined, flush: async () => undefined, waiting: 0, stop: async () => undefined },
    catchUp: {
      readAfter: async () => ({ entries: [], voids: [] }),
      repair: async () => 0,
      repairSoon: () => undefined,
    },
    slots: { full: false },
    presence: { began: () => undefined },
    openings: createSlots(2, 0),
    sweep: { soon: () => undefined, stop: async () => undefined },
    signal: new AbortController().signal,
    log: createLogger({ app: 'connect', instance: 'test', level: 'silent' }),
  }
  const deps = {
    opening,
    edge: {
      tokens: {
        verify(token: string): Identity {
          verified.push(token)
          return { user: token, sessionId: undefined, expiresAt: Number.POSITIVE_INFINITY, scopes: undefined }
        },
      },
      tickets: { issue: async () => '', redeem: () => Promise.reject(new Error('no tickets here')) },
      seenUsers: { check: () => undefined },
    },
    rateLimits: true,
    countAddress: () => () => undefined,
    onSessionClosed: () => undefined,
  } as unknown as ConnectionDeps

  /** Connects as a user. @returns what the socket was sent, and the code that it was closed with */
  function connect(user: string): { frames: string[]; code: number | undefined } {
    const seen: ReturnType<typeof connect> = { frames: [], code: undefined }
    const send = (frame: string | Uint8Array) => {
      seen.frames.push((JSON.parse(String(frame)) as { op: string; code?: string }).code ?? 'frame')
      return 'sent' as const
    }
    const socket: Socket = {
      send,
      sendAll: (frames) => frames.map(send)[0]!,
      ping: () => undefined,
      buffered: () => 0,
      close: (code) => {
        seen.code = code
      },
      closed: false,
    }
    const request: UpgradeRequest = {
      header: (name) => (name === 'authorization' ? `Bearer ${user}` : ''),
      query: new URLSearchParams(),
      address: '127.0.0.1',
    }
    new Connection(deps, socket, request)
    return seen
  }

  const [ann, ben, cat] = ['ann', 'ben', 'cat'].map(connect)
  await turn()
  t.same([cat!.frames, cat!.code], [['overloaded'], 1013])
  t.same(verified, ['ann', 'ben'], 'nobody looked at the token of the one who was sent away')
  t.same(listed, ['ann', 'ben'])
  t.same([ann!.frames, ben!.frames], [[], []])
  asked.shift()!()
  await turn()
  t.same(ann!.frames, ['frame', 'frame'], 'ready and synced')
  const dan = connect('dan')
  await turn()
  t.equal(dan.code, undefined, 'there is room again')
  for (const answer of asked) answer()
  await turn()
  t.equal(dan.frames.length, 2)
})

t.test('of two of a device that did not see each other the one that began last stays', async (t) => {
  const ended: string[] = []
  const closed: number[] = []
  const client = (node: string) => ({
    closeSession: async ({ session }: { session: string }) => {
      ended.push(`${node}/${session}`)
      return {}
    },
  })
  let listedNodes = 0
  const sessions = createSessions()
  const deps = {
    node: 'connect-1',
    sessions,
    // Its copy of the listings is read anew, and is empty at first.
    nodes: { client: (node: string) => (listedNodes++ > 0 ? client(node) : undefined) },
    signal: new AbortController().signal,
    log: createLogger({ app: 'connect', instance: 'test', level: 'silent' }),
  } as unknown as OpenDeps
  const socket = {
    close: () => undefined,
    sendAll: () => 'sent',
    send: () => 'sent',
    closed: false,
  } as unknown as Socket
  const identity: Identity = { user: 'alice', sessionId: undefined, expiresAt: 0, scopes: undefined }
  const session = new Session('alice', 'phone', identity, socket, (_, code) => closed.push(code))
  sessions.add(session)
  const { began } = session
  const other = (node: string, name: string, more: Partial<ListedSession> = {}): ListedSession => ({
    ...{ node, session: name, device: 'phone', began: began - 1 },
    ...more,
  })
  await endLate(deps, session, [
    other('connect-2', 'older'),
    other('connect-2', 'another device', { device: 'tablet', began: began + 1 }),
    other('connect-1', 'here'),
    other('connect-3', 'of an earlier version', { began: undefined }),
  ])
  t.same([ended, closed], [[], []], 'nobody waits for a node that is not listed')
  await until('it is listed', () => ended.length > 0)
  t.same([ended, closed], [['connect-2/older'], []])
  await endLate(deps, session, [other('connect-2', '-', { began })])
  t.same([ended.length, closed], [2, []], 'of the same millisecond, the greater name stays')
  await endLate(deps, session, [other('connect-2', 'older'), other('connect-3', 'newer', { began: began + 1 })])
  t.same([ended.length, closed], [2, [4409]])
  sessions.remove(session)
  await endLate(deps, session, [other('connect-2', 'newer', { began: began + 1 })])
  t.same([ended.length, closed], [2, [4409]], 'one that has gone meanwhile ends nobody')
})
