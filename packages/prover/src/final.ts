/** After the last fault: until everything is through, and then what every place holds. */

import { parseFold } from '@tidings/protocol'
import { logOf } from './cluster/app.js'
import type { Cluster } from './cluster/cluster.js'
import type { Row } from './cluster/mysql.js'
import type { History } from './history.js'
import type { Crowd } from './load/crowd.js'
import { Device } from './load/device.js'
import { readPage } from './load/http.js'
import { CANARY } from './load/message.js'
import { type ShownEntry, shownOf } from './load/shown.js'
import type { Target } from './load/target.js'
import { within } from './until.js'

const GROUPS = ['push', 'persist'] as const
const PAGE = 200

/** @returns what is not through, or undefined when every group has settled all there is */
export async function unsettled({ redis, keys, partitions }: Cluster): Promise<string | undefined> {
  for (let p = 0; p < partitions; p++) {
    const stream = keys.messages(p)
    if ((await redis.exists(stream)) === 0) continue
    // The newest entry and not the last id that was made: that one may have been set by hand.
    const [[newest], groups] = await Promise.all([
      redis.xrevrange(stream, '+', '-', 'COUNT', 1),
      redis.xinfo('GROUPS', stream) as Promise<unknown[][]>,
    ])
    for (const group of GROUPS) {
      const row = groups.map(fields).find(({ name }) => name === group)
      if (!row) return `${group} is missing in partition ${p}`
      if (Number(row.pending) > 0) return `${group} has ${row.pending} pending in partition ${p}`
      if (newest && isBefore(String(row['last-delivered-id']), newest[0]))
        return `${group} has not read all of partition ${p}`
    }
  }
  return undefined
}

/** Is the first of two stream ids the older one? */
function isBefore(one: string, other: string): boolean {
  const [ms = 0, n = 0] = one.split('-').map(Number)
  const [otherMs = 0, otherN = 0] = other.split('-').map(Number)
  return ms < otherMs || (ms === otherMs && n < otherN)
}

function fields(row: readonly unknown[]): Record<string, string> {
  const named: Record<string, string> = {}
  for (let i = 0; i + 1 < row.length; i += 2) named[String(row[i])] = String(row[i + 1])
  return named
}

/** Waits until nothing is on its way any more. @returns what still is, when the time is up */
export async function settle(cluster: Cluster, withinMs: number): Promise<string | undefined> {
  let left: string | undefined
  const done = await within(async () => {
    try {
      left = await unsettled(cluster)
    } catch (error) {
      left = error instanceof Error ? error.message : String(error)
    }
    return left === undefined
  }, withinMs)
  return done ? undefined : left
}

/** Tells that the end itself failed, as a fault that could not be mended. */
export function failEnd(history: History, name: string, detail: string): void {
  const line = { row: 'end', name }
  history.record({ proc: 'prover', type: 'info', f: 'fault', data: { ...line, phase: 'inject' } })
  history.record({ proc: 'prover', type: 'fail', f: 'fault', detail, data: { ...line, phase: 'failed' } })
}

/** Reads every place into the history. What cannot be read is missing there, and the checker says so. */
export async function readAll(cluster: Cluster, crowd: Crowd, target: Target, history: History, withinMs: number) {
  for (const device of crowd.devices) device.stay()
  await Promise.all(
    [...crowd.conversations, ...crowd.feeds].flatMap(({ conv, users }) =>
      users.map((user) => readHistory(target, history, conv, user, withinMs)),
    ),
  )
  await readMysql(cluster, crowd, history)
  await readDead(cluster, history)
  await catchUp(crowd.devices, history, withinMs)
  await readFresh(crowd, target, history, withinMs)
  lookForCanaries(cluster, crowd, history)
}

/** Waits until each device has shown all that the final reads know of; one that does not get there is told of. */
export async function catchUp(
  devices: readonly Pick<Device, 'proc' | 'options' | 'reached'>[],
  history: History,
  withinMs: number,
): Promise<void> {
  const heads = headsOf(history)
  const behind = () =>
    devices.filter((device) => [...device.options.mine].some((conv) => device.reached(conv) < (heads.get(conv) ?? 0)))
  if (await within(() => behind().length === 0, withinMs)) return
  const names = behind().map(({ proc }) => proc)
  failEnd(history, 'every device has caught up', `not in ${withinMs} ms: ${names.join(', ')}`)
}

const headsOf = ({ events }: History): Map<string, number> => {
  const heads = new Map<string, number>()
  for (const { f, conv, seq } of events)
    if (f === 'head' && conv !== undefined) heads.set(conv, Math.max(seq!, heads.get(conv) ?? 0))
  return heads
}

async function readHistory(
  target: Target,
  history: History,
  conv: string,
  user: string,
  withinMs: number,
): Promise<void> {
  const proc = `history:${user}`
  const base = target.apis[0]!
  const end = performance.now() + withinMs
  let head = 0
  for (let after = 0, more = true; more; ) {
    const page = await readPage(base, target.token(user), conv, after, PAGE)
    const good = typeof page !== 'number' && page.complete
    if (!good && performance.now() < end) {
      await within(() => false, 100)
      continue
    }
    if (typeof page === 'number') break
    head = page.head
    for (const range of page.void) history.record({ proc, user, type: 'ok', f: 'void', conv, range })
    for (const message of page.messages) {
      const { id, seq, from, clientId = '' } = message
      history.record({ proc, user, type: 'ok', f: 'read', conv, seq, id, from, clientId, ...shownOf(message) })
    }
    const last = Math.max(page.messages.at(-1)?.seq ?? 0, page.void.at(-1)?.[1] ?? 0)
    more = last > after && last < head
    after = last
  }
  history.record({ proc, user, type: 'ok', f: 'head', conv, seq: head })
}

async function readMysql(cluster: Cluster, { conversations, feeds }: Crowd, history: History): Promise<void> {
  const proc = 'mysql'
  for (const { conv } of [...conversations, ...feeds]) {
    const rows = await cluster.sql(
      'SELECT seq, id, from_user, type, content, client_id, void_from, fold FROM entries WHERE conversation = ? ORDER BY seq',
      [conv],
    )
    for (const row of rows) {
      const seq = Number(row.seq)
      if (row.type === 'void')
        history.record({ proc, type: 'ok', f: 'void', conv, range: [Number(row.void_from ?? seq), seq] })
      else
        history.record({
          proc,
          type: 'ok',
          f: 'read',
          conv,
          seq,
          id: String(row.id),
          from: String(row.from_user),
          clientId: String(row.client_id),
          ...shownOf(fromRow(row)),
        })
    }
    history.record({ proc, type: 'ok', f: 'head', conv, seq: Number(rows.at(-1)?.seq ?? 0) })
  }
}

/** A row as it says itself what it is. A text that stands there is seen, whatever the fold says: it should be gone from the row. */
function fromRow({ type, content, fold }: Row): ShownEntry {
  const shown: ShownEntry = {
    type: String(type),
    ...(content !== null && content !== '' && { content: JSON.parse(String(content)) as unknown }),
  }
  const { gone, reactions } = parseFold(String(fold ?? ''))
  if (gone) shown.type = gone.as
  if (reactions.size > 0)
    shown.reactions = Object.fromEntries([...reactions].map(([emoji, users]) => [emoji, { users: [...users] }]))
  return shown
}

async function readDead({ redis, keys, partitions }: Cluster, history: History): Promise<void> {
  for (const group of GROUPS)
    for (let p = 0; p < partitions; p++)
      for (const [, row] of await redis.xrange(keys.dead(p, group), '-', '+')) {
        const { conversation = '', clientId = '', id = '', seq = '', reason = '' } = fields(row)
        history.record({
          proc: `dead:${group}`,
          type: 'ok',
          f: 'dead',
          conv: conversation,
          clientId,
          id,
          seq: Number(seq),
          detail: reason,
        })
      }
}

/** One device per user that nobody has seen, from the oldest entry on. */
async function readFresh({ users, devices }: Crowd, target: Target, history: History, withinMs: number): Promise<void> {
  const fresh = users.map((user) => {
    const like = devices.find(({ options }) => options.user === user)!.options
    const { leaves: _, resumes: __, ...options } = like
    return new Device({
      ...options,
      target,
      name: 'fresh',
      begins: 'first',
      fromOldest: true,
      history: relabelled(history, `fresh:${user}`),
    })
  })
  await catchUp(fresh, history, withinMs)
  await Promise.all(fresh.map((device) => device.stop()))
  for (const device of fresh)
    for (const conv of device.options.mine)
      history.record({
        proc: `fresh:${device.options.user}`,
        user: device.options.user,
        type: 'ok',
        f: 'head',
        conv,
        seq: device.reached(conv),
      })
}

/** What such a device shows is a final read. */
function relabelled(history: History, proc: string): Pick<History, 'record'> {
  return {
    record(draft) {
      const f = draft.f === 'app' ? 'read' : draft.f
      return history.record({ ...draft, f, proc })
    },
  }
}

/** Text of a conversation in a log or among the metrics. */
function lookForCanaries({ apps }: Cluster, { conversations, feeds }: Crowd, history: History): void {
  const owners = new Map([...conversations, ...feeds].map(({ canary, conv }) => [canary, conv]))
  for (const app of apps.values())
    for (const canary of new Set(logOf(app).match(CANARY) ?? [])) {
      const conv = owners.get(canary)
      if (conv !== undefined)
        history.record({ proc: app.instance, type: 'fail', f: 'canary', conv, detail: 'in its log' })
    }
}
