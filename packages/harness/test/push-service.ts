/** A push service of a test's own, and devices that are subscribed to it, without the people having to ask one by one. */
import { createDecipheriv, createECDH, createHash, hkdfSync, randomBytes } from 'node:crypto'
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'
import type { World } from '../src/index.js'

export function keyPair(): { publicKey: string; privateKey: string } {
  const pair = createECDH('prime256v1')
  pair.generateKeys()
  const privateKey = Buffer.concat([Buffer.alloc(32), pair.getPrivateKey()]).subarray(-32)
  return { publicKey: pair.getPublicKey('base64url'), privateKey: privateKey.toString('base64url') }
}

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
  const pair = createECDH('prime256v1')
  pair.generateKeys()
  const auth = randomBytes(16)
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
      const p256dh = pair.getPublicKey('base64url')
      const before = new Date(Date.now() - 60_000)
      const rows = users.map((user) => {
        const endpoint = `${url}/${user}/${name}`
        const hash = createHash('sha256').update(endpoint).digest('hex')
        return [user, name, endpoint, hash, p256dh, auth.toString('base64url'), before]
      })
      await w.store.use((db) =>
        db.run(
          'INSERT INTO push_subscriptions (user, device, endpoint, endpoint_hash, p256dh, auth, created_at) VALUES ?',
          [rows],
        ),
      )
    },
  }

  /** As a browser does (RFC 8291). */
  function open(body: Buffer): Pushed['payload'] {
    const derive = (ikm: Buffer, salt: Buffer, info: Buffer | string, length: number): Buffer =>
      Buffer.from(hkdfSync('sha256', ikm, salt, info, length))
    const salt = body.subarray(0, 16)
    const sender = body.subarray(21, 21 + body[20]!)
    const sealed = body.subarray(21 + body[20]!)
    const info = Buffer.concat([Buffer.from('WebPush: info\0'), pair.getPublicKey(), sender])
    const ikm = derive(pair.computeSecret(sender), auth, info, 32)
    const key = derive(ikm, salt, 'Content-Encoding: aes128gcm\0', 16)
    const decipher = createDecipheriv('aes-128-gcm', key, derive(ikm, salt, 'Content-Encoding: nonce\0', 12))
    decipher.setAuthTag(sealed.subarray(-16))
    const padded = Buffer.concat([decipher.update(sealed.subarray(0, -16)), decipher.final()])
    return JSON.parse(padded.subarray(0, padded.lastIndexOf(2)).toString()) as Pushed['payload']
  }

  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const device = request.url!.slice(1)
      const nth = (times.get(device) ?? 0) + 1
      times.set(device, nth)
      pushed.push({ device, headers: request.headers, payload: open(Buffer.concat(chunks)) })
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
