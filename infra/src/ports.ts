/** Ports of this machine: is one free, and which to take when it is not. */
import { createHash } from 'node:crypto'
import { connect, createServer } from 'node:net'
import { codeOf } from './failure.js'

const LOOPBACK = '127.0.0.1'
/** The stores' usual ports belong to whatever else runs on the machine: never taken, even when free. */
const RESERVED = new Set([6379, 3306, 33060, 2379, 2380])
/** Own ports lie here: above the well-known ones, below the range that outgoing connections take theirs from. */
const FIRST = 20_000
const SPAN = 10_000

/** Could a server listen there now? */
export async function isFree(port: number, host = LOOPBACK): Promise<boolean> {
  const error = await listenError(port, host)
  if (error === undefined) return true
  const code = codeOf(error)
  if (code === 'EADDRINUSE' || code === 'EACCES') return false
  throw error
}

/** What keeps a server from listening there now; nothing when one could. Of port 0, which is any: what is wrong with the address. */
export async function listenError(port: number, host: string): Promise<unknown> {
  const server = createServer()
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen({ port, host, exclusive: true }, resolve)
    })
    return undefined
  } catch (error) {
    return error
  } finally {
    await new Promise<void>((resolve) => server.close(() => resolve()))
  }
}

/** Throws unless someone accepts a connection there. */
export async function checkOpen(host: string, port: number): Promise<void> {
  const socket = connect({ host: host.replace(/^\[|\]$/g, ''), port, timeout: 2_000 })
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', () => resolve())
      socket.once('error', reject)
      socket.once('timeout', () => reject(new Error(`no answer at ${host}:${port}`)))
    })
  } finally {
    socket.destroy()
  }
}

/** A place in the range of own ports that is always the same for the same text, so that a data folder keeps its ports. */
export function preferredPort(text: string): number {
  return FIRST + (createHash('sha256').update(text).digest().readUInt32BE(0) % (SPAN - 100))
}

/** Hands out free ports, none of them twice. */
export class PortPicker {
  readonly #given = new Set<number>()

  /** Keeps a port from being handed out. */
  reserve(port: number): void {
    this.#given.add(port)
  }

  /** Takes this port when it is free. */
  async take(port: number, host = LOOPBACK): Promise<boolean> {
    if (this.#given.has(port) || port > 65_535 || !(await isFree(port, host))) return false
    this.#given.add(port)
    return true
  }

  /** The first free port from `start` upwards. */
  async next(start: number, host = LOOPBACK): Promise<number> {
    for (let port = start; port <= 65_535; port++) {
      if (!RESERVED.has(port) && (await this.take(port, host))) return port
    }
    return this.any(host)
  }

  /** Any free port of the own range, from a random place: two runs at the same time hardly ever look at the same one. */
  async any(host = LOOPBACK): Promise<number> {
    return this.next(FIRST + Math.floor(Math.random() * (SPAN - 100)), host)
  }
}
