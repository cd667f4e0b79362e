/** The end of a stream that one Redis has and another does not: which entries were called accepted by a server that takes them with it. */
import type { RunningStore } from '@tidings/infra'
import { askServer, type Redis } from '../cluster/redis.js'
import type { Conversation } from '../load/conversations.js'
import type { Kept } from '../load/sender.js'
import { until } from '../until.js'
import type { FaultContext } from './fault.js'

/** What a server says of its replication. */
export interface Replication {
  role: string
  /** `master_replid`: another one after each change of primary. */
  id: string
  /** How far its history of writes reaches. */
  offset: number
}

export const replicationOf = (server: RunningStore): Promise<Replication> =>
  askServer(server, async (redis) => {
    const info = await redis.info('replication')
    const field = (name: string): string => new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1] ?? ''
    // A replica's master_repl_offset is how far it has come itself.
    return { role: field('role'), id: field('master_replid'), offset: Number(field('master_repl_offset')) }
  })

/** An accepted message, and the id of its entry in the stream. */
export interface Tail {
  kept: Kept
  streamId: string
}

/** Where in the stream of the server that was asked these messages are. @throws Error when one is not there: then another server has accepted it */
export async function tailOn(redis: Redis, { cluster }: FaultContext, accepted: readonly Kept[]): Promise<Tail[]> {
  const tail: Tail[] = []
  for (const kept of accepted) {
    const rows = await redis.xrevrange(cluster.keys.messages(cluster.keys.partitionOf(kept.message.conv)), '+', '-')
    const row = rows.find(([, fields]) => fields.includes(kept.id))
    if (!row)
      throw new Error(`seq ${kept.seq} of ${kept.message.conv} is not in the stream of the server that should have it`)
    tail.push({ kept, streamId: row[0] })
  }
  return tail
}

/** Those of the tail that are not in the stream of this server. */
export function missingOn(server: RunningStore, { cluster }: FaultContext, tail: readonly Tail[]): Promise<Tail[]> {
  return askServer(server, async (redis) => {
    const missing: Tail[] = []
    for (const one of tail) {
      const key = cluster.keys.messages(cluster.keys.partitionOf(one.kept.message.conv))
      if ((await redis.xrange(key, one.streamId, one.streamId)).length === 0) missing.push(one)
    }
    return missing
  })
}

/** How many of the tail MySQL has. */
export async function storedOf({ cluster }: FaultContext, tail: readonly Tail[]): Promise<number> {
  let stored = 0
  for (const { kept } of tail) stored += (await cluster.sql('SELECT 1 FROM entries WHERE id = ?', [kept.id])).length
  return stored
}

/** Accepted one after the other. @param api which one, if not any */
export async function accept(
  c: FaultContext,
  conversation: Conversation,
  count: number,
  api?: number,
): Promise<Kept[]> {
  const accepted: Kept[] = []
  for (let i = 0; i < count; i++) accepted.push(await c.crowd.send(conversation, { api }))
  return accepted
}

/** Does this server follow another, and is in step? */
const follows = (server: RunningStore): Promise<boolean> =>
  askServer(server, async (redis) => {
    const info = await redis.info('replication')
    return /role:slave/.test(info) && /master_link_status:up/.test(info)
  }).catch(() => false)

/** Resolves when this server follows another again. What is harmed next is then a whole set. */
export const inStep = (server: RunningStore): Promise<void> =>
  until('a replica is in step', () => follows(server), 30_000)

/** Resolves when this server says of itself that it is the primary. */
export const promoted = (server: RunningStore): Promise<void> =>
  until(
    'the replica is the primary',
    () =>
      replicationOf(server).then(
        ({ role }) => role === 'master',
        () => false,
      ),
    20_000,
  )
