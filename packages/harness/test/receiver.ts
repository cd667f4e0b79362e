/** An endpoint for webhooks that remembers what it was told and answers as a test wants. */
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'
import { until, type World } from '../src/index.js'

export const ADMIN = 'admin-token-of-this-test'
export const SENDER = 'sender-token-of-this-test'
export const ENV = {
  TIDINGS_TASK_GROUPS: 'push,persist,notify',
  TIDINGS_SERVICE_TOKENS: `ops:admin:${ADMIN},bot:send:${SENDER}`,
  TIDINGS_HOOKS_ALLOW_PRIVATE: 'on',
}

export interface Event {
  id: string
  event: string
  at: number
  data: { conversation: string; seq: number; from: string; type: string; content: Record<string, unknown> }
}

export interface Received {
  path: string
  headers: IncomingHttpHeaders
  text: string
  event: Event
}

export interface Receiver {
  url: string
  received: Received[]
  /** Ids of events that were answered with 2xx, by path. */
  taken(path: string): Set<string>
  /** The status for a path; undefined: no answer at all. */
  answers: Map<string, { status: number; location?: string } | undefined>
}

export async function receiver(t: Test): Promise<Receiver> {
  const received: Received[] = []
  const taken = new Map<string, Set<string>>()
  const answers: Receiver['answers'] = new Map()
  const server = createServer((request, response) => {
    let text = ''
    request.setEncoding('utf8')
    request.on('data', (chunk: string) => {
      text += chunk
    })
    request.on('end', () => {
      const path = request.url!
      const event = JSON.parse(text) as Event
      received.push({ path, headers: request.headers, text, event })
      const answer = answers.has(path) ? answers.get(path) : { status: 200 }
      if (!answer) return
      if (answer.status < 300) taken.set(path, (taken.get(path) ?? new Set()).add(event.id))
      response.writeHead(answer.status, answer.location ? { location: answer.location } : {}).end('x'.repeat(100))
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return { url, received, answers, taken: (path) => taken.get(path) ?? new Set() }
}

export interface Hook {
  id: string
  secret: string
  enabled: boolean
  disabledBecause: string | null
  due: number
  dead: number
}

export async function hook(w: World, body: Record<string, unknown>): Promise<Hook> {
  const make = () => w.http<Hook>('POST', 'webhooks', { token: ADMIN, body: { events: ['message'], ...body } })
  let made = await make()
  // Logic learns a moment later than the worker that it serves the group.
  await until('a worker is known to serve it', async () => {
    if (made.status === 503) made = await make()
    return made.status !== 503
  })
  if (made.status !== 201) throw new Error(`${made.status} ${made.text}`)
  return made.body
}

export const hooks = async (w: World): Promise<Hook[]> =>
  (await w.http<{ webhooks: Hook[] }>('GET', 'webhooks', { token: ADMIN })).body.webhooks
