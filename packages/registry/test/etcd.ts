/** Real etcd for the tests of this package: a fresh namespace per test. */

import { randomBytes } from 'node:crypto'
import { createLogger } from '@tidings/service'
import { given } from '@tidings/service/test-env'
import type { Test } from 'tap'
import {
  connectEtcd,
  connectRegistry,
  createSessionLister,
  type Etcd3,
  type Registry,
  type SessionLister,
  type SessionListing,
} from '../src/index.js'

export const log = createLogger({ app: 'test', instance: 'test', level: 'silent' })

export interface Bench {
  etcd: Etcd3
  namespace: string
  registry(leaseSeconds?: number, checkMs?: number): Promise<Registry>
}

export async function bench(t: Test): Promise<Bench> {
  const url = given('TIDINGS_ETCD_URL')
  const namespace = `t${randomBytes(6).toString('hex')}`
  const etcd = connectEtcd([url])
  t.teardown(async () => {
    await etcd.delete().prefix(`/${namespace}/`).exec()
    etcd.close()
  })
  return {
    etcd,
    namespace,
    async registry(leaseSeconds = 5, checkMs) {
      const registry = await connectRegistry({ urls: [url], namespace, leaseSeconds, checkMs, log })
      t.teardown(() => registry.stop())
      return registry
    },
  }
}

type SessionListerDeps = Parameters<typeof createSessionLister>[0]
type TestLister = SessionLister & {
  list(listing: Omit<SessionListing, 'began'> & { began?: number }): ReturnType<SessionLister['list']>
}

/** Lists sessions whose beginning is all the same, where nobody minds what is listed late. */
export async function sessionLister(
  registry: Registry,
  node: string,
  more: Partial<SessionListerDeps> = {},
): Promise<TestLister> {
  const lister = await createSessionLister({ registry, node, listedLate: () => undefined, log, ...more })
  return Object.create(lister, {
    list: { value: (listing: SessionListing) => lister.list({ ...listing, began: listing.began ?? 0 }) },
  }) as TestLister
}

/** Waits for a fact. */
export async function until(what: string, check: () => unknown): Promise<void> {
  const end = performance.now() + 30_000
  for (;;) {
    if (await check()) return
    if (performance.now() > end) throw new Error(`never came true: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
