/** The ops port of every process: alive, ready, metrics. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type Stoppable, withBound } from './lifecycle.js'
import type { MetricsRegistry } from './metrics.js'

const CHECK_BOUND_MS = 1_000

/** Rejects, with a sentence, when a thing this process needs does not work. */
export type ReadyCheck = () => Promise<unknown>

export interface OpsServer extends Stoppable {
  port: number
}

/**
 * GET /healthz answers 200 while the process turns; /readyz answers 200, or 503 with the names of the failing checks; /metrics is
 * Prometheus text.
 */
export async function startOps(options: {
  host: string
  port: number
  metrics: MetricsRegistry
  ready: Record<string, ReadyCheck>
}): Promise<OpsServer> {
  const server = createServer(async (request, response) => {
    const reply = (status: number, type: string, body: string): void => {
      response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' }).end(body)
    }
    const json = (status: number, body: unknown): void => reply(status, 'application/json', `${JSON.stringify(body)}\n`)
    const path = request.url?.split('?')[0]
    if (request.method !== 'GET' && request.method !== 'HEAD') return json(405, { status: 'method not allowed' })
    if (path === '/healthz') return json(200, { status: 'ok' })
    if (path === '/readyz') {
      const checks = await runChecks(options.ready)
      const ready = Object.values(checks).every((answer) => answer === 'ok')
      return json(ready ? 200 : 503, { status: ready ? 'ok' : 'unavailable', checks })
    }
    if (path === '/metrics') {
      try {
        return reply(200, options.metrics.contentType, await options.metrics.metrics())
      } catch (error) {
        return json(503, { status: 'unavailable', reason: error instanceof Error ? error.message : 'unknown' })
      }
    }
    return json(404, { status: 'not found' })
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(options.port, options.host, resolve)
  })
  return {
    port: (server.address() as AddressInfo).port,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

async function runChecks(ready: Record<string, ReadyCheck>): Promise<Record<string, string>> {
  const answers = await Promise.all(
    Object.entries(ready).map(async ([name, check]): Promise<[string, string]> => {
      try {
        await withBound(check(), CHECK_BOUND_MS)
        return [name, 'ok']
      } catch (error) {
        return [name, error instanceof Error ? error.message : 'failed']
      }
    }),
  )
  return Object.fromEntries(answers)
}
