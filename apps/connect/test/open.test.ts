import { createLogger } from '@tidings/service'
import t from 'tap'
import { type OpenDeps, openSession } from '../src/open.js'
import { Session } from '../src/session.js'
import { createSessions } from '../src/sessions.js'
import { createSlots } from '../src/slots.js'
import type { Socket } from '../src/transport.js'

const socket: Socket = {
  send: () => 'sent',
  sendAll: () => 'sent',
  ping: () => undefined,
  buffered: () => 0,
  close: () => undefined,
  closed: false,
}
const wishes = { resume: false, fromOldest: false }
const session = (user: string): Session =>
  new Session(user, 'd', { user, sessionId: undefined, expiresAt: 0, scopes: undefined }, socket, () => undefined)

t.test(
  'of many who come at once, logic is asked for a few, some wait, and the others are sent away at once',
  async (t) => {
    const asked: (() => void)[] = []
    const listed: string[] = []
    const deps: OpenDeps = {
      node: 'connect-1',
      heartbeatMs: 25_000,
      maxPerUser: Number.POSITIVE_INFINITY,
      maxFrameBytes: 1,
      sessions: createSessions(),
      lister: {
        async list({ user }) {
          listed.push(user)
          return []
        },
        unlist: () => undefined,
        waiting: 0,
        stop: async () => undefined,
      },
      nodes: new Map(),
      rpcToken: '',
      logic: {
        openDevice: () =>
          new Promise((resolve) => {
            asked.push(() => resolve({ positions: [] }))
          }),
      },
      acks: { add: () => undefined, flush: async () => undefined, waiting: 0, stop: async () => undefined },
      catchUp: {
        readAfter: async () => ({ entries: [], voids: [] }),
        repair: async () => 0,
        repairSoon: () => undefined,
      },
      slots: { full: false },
      openings: createSlots(2, 1),
      sweep: { soon: () => undefined, stop: async () => undefined },
      log: createLogger({ app: 'connect', instance: 'test', level: 'silent' }),
    }
    const first = ['ann', 'ben', 'cat'].map((user) => openSession(deps, session(user), wishes))
    await new Promise((resolve) => setImmediate(resolve))
    t.equal(asked.length, 2)
    await t.rejects(openSession(deps, session('dan'), wishes), { code: 'overloaded' })
    t.same(listed, ['ann', 'ben', 'cat'], 'one who is sent away was not even listed')
    for (const answer of asked.splice(0)) answer()
    await Promise.all(first.slice(0, 2))
    t.equal(asked.length, 1, 'the next in line')
    for (const answer of asked.splice(0)) answer()
    await first[2]
    const late = openSession(deps, session('dan'), wishes)
    await new Promise((resolve) => setImmediate(resolve))
    for (const answer of asked.splice(0)) answer()
    await late
  },
)
