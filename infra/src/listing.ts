/** Ends the listing of a process that is known to be dead, so that its successor need not wait for the lease to run out. */
import { asRecord } from './data.js'
import { Failure } from './failure.js'

/**
 * Revokes the lease under which a process is listed in etcd; what else hangs on that lease (its sessions) goes with it.
 * Only for a process that the caller has seen end, or one of a data folder whose lock the caller holds.
 */
export async function endListing(etcdUrl: string, namespace: string, app: string, instance: string): Promise<void> {
  const key = Buffer.from(`/${namespace}/nodes/${app}/${instance}`).toString('base64')
  const { kvs } = await call(etcdUrl, '/v3/kv/range', { key })
  const lease = Array.isArray(kvs) ? asRecord(kvs[0]).lease : undefined
  if (typeof lease === 'string' && lease !== '0') await call(etcdUrl, '/v3/lease/revoke', { ID: lease })
}

async function call(etcdUrl: string, path: string, body: unknown): Promise<Record<string, unknown>> {
  const answer = await fetch(new URL(path, etcdUrl), {
    method: 'POST',
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(1_000),
  })
  const reply = asRecord(await answer.json())
  if (!answer.ok) throw new Failure(`etcd answers ${answer.status} (${String(reply.message ?? '')})`)
  return reply
}
