/** Many messages to one person in a short time, in batches: what a backlog is made of. */
import { mintToken } from '../tokens.js'
import { contentOf } from './checker.js'
import { headOf, Line } from './line.js'
import { type Order, TOKEN_LIFE_S } from './order.js'

const PER_CALL = 500
const CALLS_AT_ONCE = 4

export interface Filled {
  /** What the ids of the conversations begin with. */
  prefix: string
  /** Messages accepted by conversation. */
  counts: Map<string, number>
}

/**
 * Sends `count` messages to `receiver` from so many senders, in equal shares. In each conversation the number in the content is the
 * seq minus one.
 * @throws when one is refused: a fill has room for all
 */
export async function fill(order: Order, receiver: string, senders: number, count: number): Promise<Filled> {
  const host = `${order.api.host}:${order.api.port}`
  const counts = new Map<string, number>()
  const share = Math.ceil(count / senders)
  let next = 0
  async function work(): Promise<void> {
    const line = await Line.open(order.api.host, order.api.port)
    for (let i = next++; i < senders; i = next++) {
      const name = `${order.suite}-s${i}`
      const head = headOf('POST', '/api/v1/messages/batch', host, mintToken(order.jwtSecret, name, TOKEN_LIFE_S))
      const wanted = Math.min(share, count - i * share)
      for (let sent = 0; sent < wanted; sent += PER_CALL)
        await sendSome(line, head, receiver, sent, Math.min(PER_CALL, wanted - sent))
      counts.set(`dm:${[name, receiver].sort().join(':')}`, wanted)
    }
    line.close()
  }
  await Promise.all(Array.from({ length: CALLS_AT_ONCE }, work))
  return { prefix: `dm:${order.suite}-`, counts }
}

async function sendSome(line: Line, head: string, receiver: string, from: number, count: number): Promise<void> {
  const messages = Array.from(
    { length: count },
    (_, i) => `{"to":{"user":"${receiver}"},"content":${contentOf(from + i)}}`,
  )
  const { status, body } = await line.call(head, `{"messages":[${messages.join(',')}]}`)
  const seqs = status === 202 ? (JSON.parse(body) as { results: { seq?: number }[] }).results.map(({ seq }) => seq) : []
  const wrong = seqs.length !== count || seqs.some((seq, i) => seq !== from + i + 1)
  if (wrong) throw new Error(`a batch was not accepted as it should: ${status} ${body.slice(0, 300)}`)
}
