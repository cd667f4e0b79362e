/** Is a port to be had? */
import { createServer } from 'node:net'

export const portTaken = ({ host, port }: { host: string; port: number }): Error =>
  new Error(`Port ${port} on ${host} is taken or not allowed. Set TIDINGS_CONNECT_PORT to another one.`)

/** Binds the port for a moment. @throws when somebody else listens there */
export async function probePort(host: string, port: number): Promise<void> {
  const probe = createServer()
  await new Promise<void>((resolve, reject) => {
    probe.once('error', () => reject(portTaken({ host, port })))
    probe.listen({ host, port, exclusive: true }, () => probe.close(() => resolve()))
  })
}
