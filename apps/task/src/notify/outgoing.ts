/**
 * Requests to where other people say. Whoever may name an endpoint must not reach through us what only our own network reaches: the
 * address is checked as the connection is made, after the name was looked up, so that no name can stand for another address later.
 */
import { type Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http'
import { type Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import { RequestFilteringHttpAgent, RequestFilteringHttpsAgent } from 'request-filtering-agent'

/** From the first byte of the request to the last one that is read of the answer. */
const WITHIN_MS = 5_000
/** Of an answer; more is not read, and the connection is closed. */
const ANSWER_BYTES = 64 * 1024
/** Each of the two senders of pushes may have 64 on their way to a host: none waits for a place that the other has. */
const SOCKETS_PER_HOST = 128
const IDLE_SOCKETS = 64

export interface Agents {
  /** Undefined: https alone. */
  http: HttpAgent | undefined
  https: HttpsAgent
}

export interface Outgoing {
  url: string
  headers: Record<string, string | number>
  body: string | Buffer
}

export interface Answer {
  status: number
  /** Milliseconds from now until which the endpoint wants to be left alone, 0 where it does not say. */
  retryAfterMs: number
}

/** Sends a POST and reads the answer's status. No redirect is followed. @throws Error with a reason for a person, when there was no answer */
export type Post = (outgoing: Outgoing) => Promise<Answer>

/** @param allowPrivate http, and addresses that are not public, are allowed */
export function createAgents(allowPrivate: boolean): Agents {
  const options = {
    allowPrivateIPAddress: allowPrivate,
    allowMetaIPAddress: false,
    keepAlive: true,
    maxSockets: SOCKETS_PER_HOST,
    maxFreeSockets: IDLE_SOCKETS,
  }
  return {
    http: allowPrivate ? new RequestFilteringHttpAgent(options) : undefined,
    https: new RequestFilteringHttpsAgent(options),
  }
}

export function closeAgents({ http, https }: Agents): void {
  http?.destroy()
  https.destroy()
}

/** @param withinMs how long all of it may take */
export function createPost(agents: Agents, withinMs = WITHIN_MS): Post {
  return ({ url, headers, body }) =>
    new Promise((resolve, reject) => {
      const target = new URL(url)
      const agent = target.protocol === 'https:' ? agents.https : agents.http
      if (!agent) {
        reject(new Error('only https is allowed'))
        return
      }
      const send = target.protocol === 'https:' ? httpsRequest : httpRequest
      const request = send(target, {
        method: 'POST',
        agent,
        headers: { ...headers, 'content-length': Buffer.byteLength(body) },
      })
      // The one bound that holds for all of it: a socket that rests is but one way to be slow.
      const timer = setTimeout(() => request.destroy(new Error(`no answer within ${withinMs} ms`)), withinMs)
      let answered = false
      request.on('close', () => {
        clearTimeout(timer)
        // A 101, which nobody asked for, is neither an answer nor an error to Node: the connection just closes.
        if (!answered) reject(new Error('the connection closed without an answer'))
      })
      request.on('error', (error) => reject(new Error(reasonOf(error), { cause: error })))
      request.on('response', (response) => {
        answered = true
        readAway(response)
          .then(() => resolve({ status: response.statusCode ?? 0, retryAfterMs: retryAfterOf(response) }))
          .catch((error: unknown) => reject(error))
      })
      request.end(body)
    })
}

/** Reads an answer to its end, so that the connection can be used again, or to the bound. */
async function readAway(response: IncomingMessage): Promise<void> {
  let bytes = 0
  for await (const chunk of response) {
    bytes += (chunk as Buffer).length
    if (bytes > ANSWER_BYTES) {
      response.destroy()
      return
    }
  }
}

/** RFC 9110, section 10.2.3: seconds, or a date. */
function retryAfterOf({ headers }: IncomingMessage): number {
  const given = headers['retry-after']
  if (given === undefined) return 0
  if (/^\d{1,9}$/.test(given)) return Number(given) * 1_000
  const at = Date.parse(given)
  return Number.isNaN(at) ? 0 : Math.max(0, at - Date.now())
}

/** Without what an endpoint could put into our logs beyond a line. */
const reasonOf = (error: Error): string => {
  const { code, message } = error as NodeJS.ErrnoException
  return (message || code || 'the connection failed').slice(0, 200)
}
