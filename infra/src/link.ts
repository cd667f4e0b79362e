/** A TCP link that can be stalled: what is sent stays on its way. For the link between a primary and its replica. */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

export interface Link {
  port: number
  /** From now on no byte passes, in either direction, on old connections and new ones; none is cut. */
  stall(): void
  /** What was on its way arrives. */
  resume(): void
  /** All connections end, and what was on its way never arrives. New ones pass. */
  lose(): void
  stop(): Promise<void>
}

/** Passes on to a port of this machine. Ends a connection when either side ends it. */
export async function startLink(toPort: number): Promise<Link> {
  const open = new Set<Socket>()
  let stalled = false

  const server = createServer({ pauseOnConnect: true }, (near) => {
    const far = connect({ host: '127.0.0.1', port: toPort })
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      open.add(from)
      from.on('data', (bytes) => {
        if (!to.write(bytes)) from.pause()
      })
      to.on('drain', () => {
        if (!stalled) from.resume()
      })
      from.on('error', () => to.destroy())
      from.on('close', () => {
        open.delete(from)
        to.destroy()
      })
      if (stalled) from.pause()
      else from.resume()
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))

  return {
    port: (server.address() as AddressInfo).port,
    stall() {
      stalled = true
      for (const socket of open) socket.pause()
    },
    resume() {
      stalled = false
      for (const socket of open) socket.resume()
    },
    lose() {
      stalled = false
      for (const socket of open) socket.destroy()
    },
    async stop() {
      for (const socket of open) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
