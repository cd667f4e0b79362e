/** A push service of a test's own, and devices that are subscribed to it, without the people having to ask one by one. */
import { createHash } from 'node:crypto'
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createBrowser } from '@tidings/task/test/browser'
import type { Test } from 'tap'
import type { World } from '../src/index.js'

export interface Pushed {
  /** The device, `<user>/<name>`. */
  device: string
  headers: IncomingHttpHeaders
  payload: { conversation: string; seq: number; from: string; title: string; text?: string }
}

export interface PushService {
  pushed: Pushed[]
  /** How often each device was pushed to. */
  times(): Map<string, number>
  /** The status of the answer; undefined: none until `release`. */
  answer: (device: string, nth: number) => number | undefined
  /** Answers what was held back. */
  release(): void
  /** Subscribes a device of each, since before anything was sent. */
  subscribe(w: World, users: readonly string[], name?: string): Promise<void>
}

export async function pushService(t: Test): Promise<PushService> {
  const browser = createBrowser()
  const held: ServerResponse[] = []
  const pushed: Pushed[] = []
  const times = new Map<string, number>()
  const service: PushService = {
    pushed,
    times: () => new Map(times),
    answer: () => 201,
    release() {
      for (const response of held.splice(0)) response.writeHead(201).end()
    },
    async subscribe(w, users, name = 'phone') {
      const before = new Date(Date.now() - 60_000)
      const rows = users.map((user) => {
        const endpoint = `${url}/${user}/${name}`
        const hash = createHash('sha256').update(endpoint).digest('hex')
        return [user, name, endpoint, hash, browser.p256dh, browser.auth, before]
      })
      await w.store.use((db) =>
        db.run(
          'INSERT INTO push_subscriptions (user, device, endpoint, endpoint_hash, p256dh, auth, created_at) VALUES ?',
          [rows],
        ),
      )
    },
  }

  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const device = request.url!.slice(1)
      const nth = (times.get(device) ?? 0) + 1
      times.set(device, nth)
      pushed.push({
        device,
        headers: request.headers,
        payload: browser.open(Buffer.concat(chunks)) as Pushed['payload'],
      })
      const status = service.answer(device, nth)
      if (status === undefined) held.push(response)
      else response.writeHead(status).end()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return service
}
