/** Row 45: people are signed out, and keys change, while all others talk. */
import WebSocket from 'ws'
import { request } from '../load/http.js'
import { pause, within } from '../until.js'
import type { Fault, FaultContext } from './fault.js'

/** However that was told: nobody stays signed in for longer. */
const BOUND_MS = 5_000
const ACCOUNTS = 12
const PASSWORD = 'correct horse battery staple'

interface Account {
  user: string
  access: string
  refresh: string
  socket: WebSocket
  /** The close code, once there is one. */
  closed: number
}

function openSocket(c: FaultContext, token: string, device: string, node: number): WebSocket {
  const { nodes } = c.cluster
  const socket = new WebSocket(`${nodes[node % nodes.length]}/api/v1/ws?device=${device}`, {
    headers: { authorization: `Bearer ${token}` },
    perMessageDeflate: false,
  })
  socket.on('error', () => undefined)
  return socket
}

async function register(c: FaultContext, user: string, i: number): Promise<Account> {
  const { apis } = c.cluster
  const body = JSON.stringify({ username: user, password: PASSWORD })
  const answer = await request(apis[i % apis.length]!, 'POST', 'auth/register', '', body)
  if (answer?.status !== 201) throw new Error(`registering ${user} answers ${answer?.status}`)
  const { accessToken: access, refreshToken: refresh } = answer.body as Record<string, string>
  const account: Account = {
    user,
    access: access!,
    refresh: refresh!,
    socket: openSocket(c, access!, 'phone', i),
    closed: 0,
  }
  account.socket.on('close', (code) => {
    account.closed = code
  })
  return account
}

/** What each api says to a token. */
const statusesOf = (c: FaultContext, token: string): Promise<number[]> =>
  Promise.all(
    c.cluster.apis.map(async (base) => (await request(base, 'GET', 'conversations?limit=1', token))?.status ?? 0),
  )

/** Ends the session: every second by logging out, the others as a thief does who shows a used refresh token. */
async function signOut(c: FaultContext, { user, access, refresh }: Account, i: number): Promise<void> {
  const base = c.cluster.apis[i % c.cluster.apis.length]!
  if (i % 2 === 0) {
    const answer = await request(base, 'POST', 'auth/logout', access)
    if (answer?.status !== 204) throw new Error(`logging ${user} out answers ${answer?.status}`)
    return
  }
  const body = JSON.stringify({ refreshToken: refresh })
  const first = await request(base, 'POST', 'auth/refresh', '', body)
  const second = await request(base, 'POST', 'auth/refresh', '', body)
  if (first?.status !== 200 || second?.status !== 401)
    throw new Error(`a refresh token of ${user} is answered ${first?.status}, and the second time ${second?.status}`)
}

/** Some are signed out and must be out at once, everywhere; the others must notice nothing. */
export async function revoke(c: FaultContext): Promise<void> {
  const name = `rv${c.chance.between(0, 1e9)}`
  const accounts = await Promise.all(Array.from({ length: ACCOUNTS }, (_, i) => register(c, `${name}-${i}`, i)))
  try {
    const open = (): boolean => accounts.every(({ socket }) => socket.readyState === WebSocket.OPEN)
    if (!(await within(open, 10_000))) throw new Error('the sockets of the accounts did not open')
    const leaving = accounts.slice(0, ACCOUNTS / 2)
    const staying = accounts.slice(ACCOUNTS / 2)
    let longest = 0
    for (const [i, account] of leaving.entries()) {
      await signOut(c, account, i)
      const began = performance.now()
      const out = async (): Promise<boolean> =>
        account.closed !== 0 && (await statusesOf(c, account.access)).every((status) => status === 401)
      if (!(await within(out, BOUND_MS))) throw new Error(`${account.user} is still in after ${BOUND_MS} ms`)
      longest = Math.max(longest, performance.now() - began)
      for (const { user, access } of staying) {
        const statuses = await statusesOf(c, access)
        if (statuses.some((status) => status !== 200)) throw new Error(`${user} stays, and is answered ${statuses}`)
      }
    }
    const dropped = staying.filter(({ closed }) => closed !== 0)
    if (dropped.length > 0) throw new Error(`${dropped.map(({ user }) => user)} stayed, and lost their sockets`)
    const codes = [...new Set(leaving.map(({ closed }) => closed))].join(' and ')
    c.bit(
      `${leaving.length} of ${ACCOUNTS} sessions ended, closed with ${codes} after ${Math.round(longest)} ms at most`,
    )
  } finally {
    for (const { socket } of accounts) socket.terminate()
  }
}

/** A key is published, then used; the tokens of the one before are good all the while. */
async function rotate(c: FaultContext): Promise<void> {
  const issuer = c.cluster.issuer!
  const user = c.crowd.users[0]!
  let asked = 0
  const accepted = async (token: string, what: string): Promise<void> => {
    const statuses = await statusesOf(c, token)
    asked += statuses.length
    if (statuses.some((status) => status !== 200)) throw new Error(`${what} is answered ${statuses}`)
    const socket = openSocket(c, token, `key-${asked}`, asked)
    const opened = await within(() => socket.readyState === WebSocket.OPEN, BOUND_MS)
    socket.terminate()
    if (!opened) throw new Error(`${what} opens no socket`)
  }
  const first = issuer.token(user)
  await accepted(first, 'a token of the first key')
  const reads = issuer.reads
  for (let i = 0; i < 3; i++) {
    const before = issuer.token(user)
    issuer.publish()
    // The edges ask for the document at most once in five seconds, so a key is published before it is used.
    await pause(BOUND_MS)
    await accepted(issuer.token(user), 'a token of a new key')
    await accepted(before, 'a token of the key before')
    await accepted(first, 'a token of the first key')
  }
  if (issuer.reads > reads) c.bit(`3 new keys, read ${issuer.reads - reads} times; ${asked} requests, none refused`)
}

export const sessionFaults: Fault[] = [
  {
    row: '45',
    name: 'sessions revoked under load',
    boundMs: BOUND_MS,
    available: true,
    run: revoke,
  },
  {
    row: '45b',
    name: 'keys of the identity provider change under load',
    boundMs: BOUND_MS,
    available: true,
    needs: ['identity provider'],
    run: rotate,
  },
]
