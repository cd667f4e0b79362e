/** A database of one's own for a test file, dropped afterwards. */

import { randomBytes } from 'node:crypto'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { migrate } from '@tidings/migrations'
import type { Entry } from '@tidings/protocol'
import { createLogger } from '@tidings/service'
import { given } from '@tidings/service/test-env'
import { createConnection } from 'mysql2/promise'
import type { Test } from 'tap'
import { connectStore, type Store } from '../src/index.js'

const log = createLogger({ app: 'test', instance: 'test', level: 'silent' })

export interface Database {
  url: string
  store: Store
}

export async function freshDatabase(t: Test): Promise<Database> {
  const server = given('TIDINGS_MYSQL_URL')
  const name = `t_${randomBytes(6).toString('hex')}`
  const url = new URL(server)
  url.pathname = `/${name}`
  await migrate(url.href)
  const store = connectStore(url.href, log)
  t.after(async () => {
    await store.stop()
    const connection = await createConnection({ uri: server.replace(/\/[^/]*$/, '/') })
    await connection.query(`DROP DATABASE IF EXISTS ${name}`)
    connection.destroy()
  })
  return { url: url.href, store }
}

export interface Proxy {
  /** The same database through the proxy. */
  store: Store
  /** Cuts what is connected and refuses what comes. */
  cut(): void
  /** Keeps connections open and passes nothing on. */
  freeze(): void
  /** Passes everything on again; what was frozen is cut. */
  heal(): void
}

/** A way to the database that can break. */
export async function throughProxy(t: Test, url: string): Promise<Proxy> {
  const target = new URL(url)
  const sockets = new Set<Socket>()
  let mode: 'open' | 'cut' | 'frozen' = 'open'
  const server = createServer((client) => {
    if (mode === 'cut') return void client.destroy()
    const upstream = connect(Number(target.port), target.hostname)
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      // The other side ends with it.
      socket.on('error', () => undefined)
      socket.on('close', () => {
        sockets.delete(socket)
        client.destroy()
        upstream.destroy()
      })
    }
    client.on('data', (bytes) => void (mode === 'open' && upstream.write(bytes)))
    upstream.on('data', (bytes) => void (mode === 'open' && client.write(bytes)))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const through = new URL(url)
  through.port = String((server.address() as AddressInfo).port)
  through.hostname = '127.0.0.1'
  const store = connectStore(through.href, log)
  const dropAll = () => {
    for (const socket of sockets) socket.destroy()
  }
  t.after(async () => {
    dropAll()
    await store.stop()
    server.close()
  })
  return {
    store,
    cut() {
      mode = 'cut'
      dropAll()
    },
    freeze() {
      mode = 'frozen'
    },
    heal() {
      if (mode === 'frozen') dropAll()
      mode = 'open'
    },
  }
}

let lastId = 7_261_234_567_890_123_456n

/** An entry with a fresh 64-bit id. */
export function entryOf(conversation: string, seq: number, more: Partial<Entry> = {}): Entry {
  lastId += 1n
  return {
    id: String(lastId),
    conversation,
    seq,
    n: seq,
    from: conversation.split(':')[1] ?? 'alice',
    type: 'text',
    content: `{"text":"number ${seq}"}`,
    clientId: `c-${seq}`,
    sentAt: 1_763_700_000_000 + seq,
    trace: '',
    ...more,
  }
}
