/** One's own data as lines: what is in them, one at a time, and what becomes of it when somebody goes away. */
import { request as httpRequest } from 'node:http'
import { AppError, type logicRpc, revokedUser } from '@tidings/protocol'
import { test } from 'tap'
import type { Exports } from '../src/index.js'
import { away, isProblem, ROOM, roomOf, SEND_TOKEN, tokenOf, world } from './world.js'

const view = (id: string, head: number): logicRpc.ConversationView => ({
  ...{ id, kind: id.split(':')[0]!, title: id, head, delivered: 0, read: 0, unread: 0, lastMessage: undefined },
  ...{ mutedUntil: 0, pinned: true },
})
const entry = (conversation: string, seq: number, from: string, content = '{"text":"hi"}'): logicRpc.HistoryEntry => ({
  ...{
    id: String(seq),
    conversation,
    seq,
    n: seq,
    from,
    type: 'text',
    content,
    clientId: '',
    sentAt: 1_000,
    extra: '',
    options: '',
  },
})

/** Remembers what runs. */
function exportsOf(over: Partial<{ take: Exports['take']; keep: () => Promise<void> }> = {}) {
  const running = new Set<string>()
  const exports: Exports = {
    async take(user) {
      if (running.has(user)) throw new AppError('rate_limited', 'runs', { retryAfter: 30 })
      running.add(user)
      return { keep: over.keep ?? (async () => {}), drop: async () => void running.delete(user) }
    },
    ...(over.take && { take: over.take }),
  }
  return { exports, running }
}

const linesOf = (text: string) =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))

test('a line for each thing, content as it was written, and a last one that says that it was all', async (t) => {
  const { exports, running } = exportsOf()
  const { call, behind, calls } = await world(t, { exports })
  const dm = 'dm:alice:bob'
  behind.readAccount = () => ({
    devices: [{ device: 'phone', firstSeen: 5 }],
    sessions: [{ id: 's1', device: 'phone', createdAt: 1, expiresAt: 9, revokedAt: 0 }],
    files: [{ id: 'f1', name: 'a.png', mediaType: 'image/png', size: 3, createdAt: 1 }],
  })
  behind.listBlocks = () => ({ users: ['mallory'], nextCursor: '' })
  behind.listConversations = () => ({ conversations: [view(dm, 3), view(`room:${ROOM}`, 0)], nextCursor: '' })
  behind.room = () => roomOf({})
  const mine = '{ "z":9007199254740993,\n "text":"line\\nbreak" }'
  behind.readHistory = () => ({
    entries: [entry(dm, 2, 'alice', mine), entry(dm, 3, 'bob')],
    voids: [{ from: 1, to: 1 }],
    head: 3,
    complete: true,
  })
  const old = 'room:fedcba9876543210'
  behind.readLeftRooms = ({ cursor }) =>
    cursor === ''
      ? { room: { conversation: old, leftAt: 8 }, entries: [entry(old, 4, 'alice')], nextCursor: 'more' }
      : { room: undefined, entries: cursor === 'more' ? [entry(old, 9, 'alice')] : [], nextCursor: '' }
  const reply = await call('GET', 'me/export')
  t.equal(reply.status, 200)
  t.match(reply.headers, {
    'content-type': 'application/x-ndjson',
    'content-disposition': /attachment/,
    'cache-control': 'no-store',
  })
  t.match(linesOf(reply.text), [
    { kind: 'user', user: { id: 'alice' } },
    { kind: 'device', device: 'phone', firstSeen: 5 },
    { kind: 'session', id: 's1', device: 'phone', revokedAt: null },
    { kind: 'file', id: 'f1', name: 'a.png', size: 3 },
    { kind: 'block', user: 'mallory' },
    { kind: 'conversation', conversation: { id: dm, pinned: true, muted: false, read: 0 } },
    { kind: 'message', message: { seq: 2, from: 'alice', content: { text: 'line\nbreak' } } },
    { kind: 'conversation', conversation: { id: `room:${ROOM}` } },
    { kind: 'room', room: { id: ROOM, role: 'owner' } },
    { kind: 'left', left: { conversation: old, leftAt: 8 } },
    { kind: 'message', message: { conversation: old, seq: 4 } },
    { kind: 'message', message: { conversation: old, seq: 9 } },
    { kind: 'end', lines: 12 },
  ])
  t.match(reply.text, '9007199254740993')
  t.notMatch(reply.text, /refresh|hash|password/i)
  t.ok(
    calls.every(([, request]) => request.user === undefined || request.user === 'alice'),
    'nothing was asked for in the name of another',
  )
  t.equal(running.size, 0)
  const all = linesOf((await call('GET', 'me/export?all=1')).text)
  t.same(
    all.filter(({ kind }) => kind === 'message').map(({ message }) => message.from),
    ['alice', 'bob', 'alice', 'alice'],
  )
})

test('who may not, what is wrong, and a second one at the same time', async (t) => {
  const { exports } = exportsOf()
  const { call, behind, calls } = await world(t, { exports })
  isProblem(t, await call('GET', 'me/export', { as: false }), 401, 'unauthenticated', 'nobody')
  isProblem(t, await call('GET', 'me/export', { token: SEND_TOKEN }), 403, 'forbidden', 'a service')
  for (const query of ['all=yes', 'user=bob', 'all=1&all=0'])
    isProblem(t, await call('GET', `me/export?${query}`), 400, 'invalid_request', query)
  behind.getUser = async () => {
    throw new AppError('user_not_found')
  }
  isProblem(t, await call('GET', 'me/export'), 404, 'user_not_found', 'before the first line it is a problem')
  behind.getUser = async () => ({ id: 'alice', displayName: 'a', createdAt: 1 })
  let goOn: (() => void) | undefined
  const waiting = new Promise<void>((resolve) => {
    goOn = resolve
  })
  behind.readAccount = () => waiting.then(() => ({ devices: [], sessions: [], files: [] })) as never
  const first = call('GET', 'me/export')
  while (calls.at(-1)?.[0] !== 'readAccount') await new Promise(setImmediate)
  const second = await call('GET', 'me/export')
  isProblem(t, second, 429, 'rate_limited', 'while one runs')
  t.equal(second.headers['retry-after'], '30')
  goOn!()
  t.equal((await first).status, 200)
  behind.readAccount = () => ({ devices: [], sessions: [], files: [] })
  t.equal((await call('GET', 'me/export')).status, 200, 'afterwards another one may')
})

test('a source that fails in the midst cuts the answer; what passes is waited for; who is shut out meanwhile gets no more', async (t) => {
  const { exports, running } = exportsOf()
  const { call, behind } = await world(t, { exports })
  const dm = 'dm:alice:bob'
  behind.listConversations = () => ({ conversations: [view(dm, 500), view('room:x', 5)], nextCursor: '' })
  let reads = 0
  behind.readHistory = () => {
    reads++
    if (reads === 1) throw away()
    if (reads === 2) return { entries: [entry(dm, 1, 'alice')], voids: [], head: 500, complete: true }
    throw new AppError('conversation_not_found')
  }
  const kinds = linesOf((await call('GET', 'me/export')).text).map(({ kind }) => kind)
  t.same(kinds, ['user', 'conversation', 'message', 'conversation', 'room', 'end'])
  behind.readHistory = () => {
    throw new Error('broken')
  }
  await t.rejects(call('GET', 'me/export'), 'cut')
  t.equal(running.size, 0, 'nothing is left behind')
})

test('a client that reads no more is not written for; one that goes away ends it', async (t) => {
  const { exports, running } = exportsOf()
  const w = await world(t, { exports })
  const big = JSON.stringify({ text: 'x'.repeat(16_000) })
  w.behind.listConversations = () => ({ conversations: [view('dm:alice:bob', 1_000_000)], nextCursor: '' })
  let seq = 0
  w.behind.readHistory = () => ({
    entries: Array.from({ length: 200 }, () => entry('dm:alice:bob', ++seq, 'alice', big)),
    ...{ voids: [], head: 1_000_000, complete: true },
  })
  const port = await w.listen()
  const request = httpRequest({
    port,
    path: '/api/v1/me/export',
    headers: { authorization: `Bearer ${tokenOf('alice')}` },
  })
  request.end()
  const response = await new Promise<import('node:http').IncomingMessage>((resolve) =>
    request.once('response', resolve),
  )
  response.pause()
  let before = -1
  // As much as socket and buffers hold, then nothing.
  for (let same = 0; same < 5; ) {
    await new Promise((resolve) => setTimeout(resolve, 50))
    same = seq === before ? same + 1 : 0
    before = seq
  }
  t.ok(seq < 5_000, `it stopped at ${seq} of a million`)
  t.equal(running.size, 1)
  request.destroy()
  while (running.size > 0) await new Promise(setImmediate)
  t.ok(seq <= before + 400, 'a page in hand at most')
})

test('it ends with its session; a user who was disabled once, and may act again, has all of it', async (t) => {
  const { exports, running } = exportsOf()
  const { call, behind, revoked } = await world(t, { exports })
  behind.listConversations = () => ({ conversations: [view('dm:alice:bob', 400)], nextCursor: '' })
  const token = tokenOf('alice', { iss: 'tidings', sid: 's-1' })
  let reads = 0
  behind.readHistory = () => {
    if (++reads === 2) revoked.add('s-1')
    return { entries: [entry('dm:alice:bob', reads * 200, 'alice')], voids: [], head: 400, complete: true }
  }
  await t.rejects(call('GET', 'me/export', { token }), 'cut')
  t.equal(reads, 2, 'nothing more was asked for')
  t.equal(running.size, 0)
  revoked.delete('s-1')
  revoked.add(revokedUser('alice'))
  reads = 2
  behind.readHistory = () => ({ entries: [entry('dm:alice:bob', 400, 'alice')], voids: [], head: 400, complete: true })
  t.equal((await call('GET', 'me/export', { token })).status, 200)
})

test('messages that cannot be read just now are waited for, and not left out', async (t) => {
  const { exports } = exportsOf()
  const { call, behind } = await world(t, { exports })
  behind.listConversations = () => ({ conversations: [view('dm:alice:bob', 3)], nextCursor: '' })
  let reads = 0
  behind.readHistory = () => {
    const all = [1, 2, 3].map((seq) => entry('dm:alice:bob', seq, 'alice'))
    const isThere = ++reads > 1
    return { entries: all.filter(({ seq }) => isThere || seq !== 2), voids: [], head: 3, complete: isThere }
  }
  const { text } = await call('GET', 'me/export', { token: tokenOf('alice') })
  t.equal(reads, 2)
  t.equal(text.split('\n').filter((line) => line.includes('"kind":"message"')).length, 3)
  t.match(text, /"kind":"end"/)
})
