/** One signed request to a hook, over connections that stay open. */
import { createHmac } from 'node:crypto'
import * as http from 'node:http'
import * as https from 'node:https'

const MAX_ANSWER_BYTES = 64 * 1024

export interface Poster {
  /** @returns the body of a 200 @throws for everything else, a redirect included, and when the signal says so */
  post(body: string, signal: AbortSignal): Promise<string>
  stop(): void
}

/**
 * @param url the operator's own setting: any address will do
 * @param secret of the signature: HMAC-SHA256 in hex over the timestamp (milliseconds since 1970), a full stop and the body
 */
export function createPoster(url: string, secret: string, connections: number): Poster {
  const target = new URL(url)
  const isSecure = target.protocol === 'https:'
  const options = { keepAlive: true, maxSockets: connections }
  const agent = isSecure ? new https.Agent(options) : new http.Agent(options)
  const open = isSecure ? https.request : http.request

  function attempt(body: string, signal: AbortSignal): Promise<string> {
    const timestamp = String(Date.now())
    return new Promise((resolve, reject) => {
      const request = open(target, {
        method: 'POST',
        agent: agent as https.Agent,
        signal,
        headers: {
          'content-type': 'application/json',
          'content-length': Buffer.byteLength(body),
          'x-tidings-timestamp': timestamp,
          'x-tidings-signature': createHmac('sha256', secret).update(`${timestamp}.${body}`).digest('hex'),
        },
      })
      let answered = false
      request.on('error', (error) => reject(Object.assign(error, { reused: request.reusedSocket })))
      // A 101, which nobody asked for, is neither an answer nor an error to Node: the connection just closes.
      request.on('close', () => {
        if (!answered) reject(new Error('the connection closed without an answer'))
      })
      request.on('response', (response) => {
        answered = true
        if (response.statusCode !== 200) {
          // Read to its end, or the connection would be of no use any more.
          response.resume()
          reject(new Error(`it answered ${response.statusCode}`))
          return
        }
        const chunks: Buffer[] = []
        let length = 0
        response.on('data', (chunk: Buffer) => {
          length += chunk.length
          chunks.push(chunk)
          if (length > MAX_ANSWER_BYTES)
            request.destroy(new Error(`its answer is larger than ${MAX_ANSWER_BYTES} bytes`))
        })
        response.on('end', () => resolve(Buffer.concat(chunks).toString()))
        response.on('error', reject)
        response.on('close', () => reject(new Error('its answer was cut')))
      })
      request.end(body)
    })
  }

  return {
    async post(body, signal) {
      try {
        return await attempt(body, signal)
      } catch (error) {
        // A connection that had rested was closed by the hook in the very moment in which it was used: nothing has been read.
        const { code, reused } = error as { code?: string; reused?: boolean }
        if (code !== 'ECONNRESET' || !reused || signal.aborted) throw error
        return await attempt(body, signal)
      }
    },
    stop: () => agent.destroy(),
  }
}
