/** One process in etcd: its lease, its listing, and who else is there. */
import { hostname } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import type { Logger, Stoppable } from '@tidings/service'
import { EtcdLeaseInvalidError, type IKeyValue } from 'etcd3'
import {
  atOnce,
  checkEtcd,
  connectEtcd,
  type Etcd3,
  type HeldLease,
  holdLease,
  type Mirror,
  mirror,
  NoLeaseError,
} from './etcd.js'
import { type AppName, createRegistryKeys, type RegistryKeys } from './keys.js'

/** Name and process of a listing, so that a successor on the same machine sees that its predecessor is dead. */
interface Holder {
  host: string
  pid: number
}

/** What a process tells about itself. */
export interface NodeInfo {
  /** host:port of its gRPC server, or of its public port where it has none. */
  address: string
  version: string
  /** New at every start: the same instance name after a restart is another node. */
  bootId: string
  /** Of a task worker: the consumer groups that it serves. */
  groups?: readonly string[]
  /** Of these the groups that it cannot serve now, because something that they need does not answer it. */
  unable?: readonly string[]
}

type Check = () => (held: ReadonlySet<string>) => void

export interface Registry extends Stoppable {
  readonly etcd: Etcd3
  readonly keys: RegistryKeys
  readonly lease: HeldLease
  /**
   * Lists this process, now and again after a lost lease. A listing of the same name is waited for until its lease has ended, or
   * replaced at once when its process was of this machine and is gone. @throws when another living process keeps the name
   */
  announce(app: AppName, instance: string, info: NodeInfo): Promise<void>
  /** Changes what the listing says. @throws when etcd does not answer: then it says so when it is listed again, or asked once more */
  update(change: Partial<NodeInfo>): Promise<void>
  /** Takes the listing back, for example to drain. */
  withdraw(): Promise<void>
  /** Runs now with the lease that lives, and again with every new one. */
  onLease(list: (leaseId: string) => Promise<void>): Promise<void>
  /**
   * Asks every so often which keys hang under the lease: who sees one of its own missing lists it again.
   * @param check runs before etcd is asked; what it returns is given the keys
   */
  onCheck(check: Check): void
  /** Tells the processes of an app, by instance, now and at every change. The first call comes before this resolves. */
  watchNodes(app: AppName, onChange: (nodes: ReadonlyMap<string, NodeInfo>) => void): Promise<void>
  /** Rejects when etcd does not answer, or takes no writes. */
  check(): Promise<void>
}

/** Connects and grants this process' lease. @throws when etcd does not answer */
export async function connectRegistry(options: {
  urls: readonly string[]
  namespace: string
  leaseSeconds: number
  /** How often it is looked whether etcd still holds what this process lists, which a hand or a script may have deleted. */
  checkMs?: number
  log: Logger
}): Promise<Registry> {
  const { log, checkMs = CHECK_MS } = options
  const etcd = connectEtcd(options.urls)
  const keys = createRegistryKeys(options.namespace)
  const listings: ((leaseId: string) => Promise<void>)[] = []
  const checks: Check[] = []
  const mirrors: Mirror[] = []
  let listed: { key: string; value: string } | undefined

  const lease = await holdLease({
    etcd,
    ttlSeconds: options.leaseSeconds,
    log,
    async onGranted(leaseId) {
      if (listed) await etcd.put(listed.key).value(listed.value).lease(leaseId).exec()
      for (const list of listings) await list(leaseId)
    },
  })

  /** Unless another process has taken the name, or it was withdrawn meanwhile. */
  async function listAgain(mine: { key: string; value: string }): Promise<void> {
    log.warn({ key: mine.key }, 'the listing of this process is gone from etcd; listing it again')
    const put = etcd.put(mine.key).value(mine.value).lease(lease.id)
    await etcd.if(mine.key, 'Mod', '==', 0).then(put).commit()
    if (listed === mine) return
    // Changed or withdrawn meanwhile.
    if (listed) await etcd.put(listed.key).value(listed.value).lease(lease.id).exec()
    else await etcd.delete().key(mine.key).exec()
  }

  async function checkListings(): Promise<void> {
    try {
      const compares = checks.map((check) => check())
      const { keys: held = [] } = await etcd.leaseClient.leaseTimeToLive({ ID: lease.id, keys: true })
      const names = new Set(held.map((key) => key.toString()))
      if (listed && !names.has(listed.key)) await listAgain(listed)
      for (const compare of compares) compare(names)
    } catch (error) {
      log.debug({ err: error }, 'etcd does not say what it holds of us')
    }
  }
  const checking = setInterval(() => void checkListings(), checkMs)

  /** Takes the place of a listing whose process is surely dead, without waiting for its lease. */
  async function replaceDead(
    key: string,
    value: string,
    other: Pick<IKeyValue, 'value' | 'mod_revision'>,
  ): Promise<boolean> {
    if (!isDead(other.value.toString())) return false
    const put = etcd.put(key).value(value).lease(lease.id)
    return (await etcd.if(key, 'Mod', '==', other.mod_revision).then(put).commit()).succeeded
  }

  /** @returns undefined when it is ours now, else who has it */
  async function claim(key: string, value: string): Promise<string | undefined> {
    const { succeeded, responses } = await etcd
      .if(key, 'Mod', '==', 0)
      .then(etcd.put(key).value(value).lease(lease.id))
      .else(etcd.get(key))
      .commit()
    const other = responses[0]?.response_range?.kvs[0]
    return succeeded || (other && (await replaceDead(key, value, other))) ? undefined : (other?.value.toString() ?? '')
  }

  let stopped: Promise<void> | undefined
  return {
    etcd,
    keys,
    lease,
    async announce(app, instance, info) {
      const key = keys.node(app, instance)
      const value = JSON.stringify({ ...info, ...SELF })
      const patience = performance.now() + options.leaseSeconds * 1_000 + 2_000
      for (;;) {
        const other = await claim(key, value).catch(leaseLost)
        if (other === undefined) break
        if (performance.now() > patience) throw other instanceof Error ? other : taken(app, instance, other)
        await delay(LISTING_POLL_MS)
      }
      listed = { key, value }
    },
    async update(change) {
      if (!listed) return
      const { key } = listed
      const before = JSON.parse(listed.value) as NodeInfo
      const value = JSON.stringify({ ...before, ...change })
      listed = { key, value }
      const [found] = (await etcd.get(key).exec()).kvs
      // One that is gone is listed again with what it says now; another's is not ours to change.
      if (!found || parseNode(found.value.toString())?.bootId !== before.bootId) return
      const put = etcd.put(key).value(value).lease(lease.id)
      const { succeeded } = await etcd.if(key, 'Mod', '==', found.mod_revision).then(put).commit()
      if (!succeeded) throw new Error('The listing was changed by somebody else meanwhile.')
    },
    async withdraw() {
      if (!listed) return
      const { key } = listed
      listed = undefined
      await etcd.delete().key(key).exec()
    },
    async onLease(list) {
      listings.push(list)
      await list(lease.id)
    },
    onCheck(check) {
      checks.push(check)
    },
    async watchNodes(app, onChange) {
      const nodes = new Map<string, NodeInfo>()
      const prefix = keys.nodes(app)
      const put = (key: string, value: string): void => {
        const info = parseNode(value)
        if (info) nodes.set(key.slice(prefix.length), info)
        else log.warn({ key }, 'a listing cannot be read and is ignored')
      }
      mirrors.push(
        await mirror(
          etcd,
          prefix,
          {
            reading: atOnce((all) => {
              nodes.clear()
              for (const [key, { value }] of all) put(key, value)
              onChange(nodes)
            }),
            put(key, { value }) {
              put(key, value)
              onChange(nodes)
            },
            delete(key) {
              nodes.delete(key.slice(prefix.length))
              onChange(nodes)
            },
          },
          log,
        ),
      )
    },
    check: () => checkEtcd(etcd, keys.health()),
    stop() {
      stopped ??= (async () => {
        clearInterval(checking)
        try {
          await Promise.all(mirrors.map((one) => one.stop()))
          await lease.revoke()
        } finally {
          etcd.close()
        }
      })()
      return stopped
    },
  }
}

const SELF: Holder = { host: hostname(), pid: process.pid }
const LISTING_POLL_MS = 200
const CHECK_MS = 30_000

/**
 * Was it a process of this machine that is gone? Our own process id says nothing (a container counts from 1 again): then the lease
 * decides.
 */
function isDead(value: string): boolean {
  const { host, pid } = JSON.parse(value) as Partial<Holder>
  if (host !== SELF.host || typeof pid !== 'number') return false
  if (pid === SELF.pid) return false
  try {
    process.kill(pid, 0)
    return false
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'ESRCH'
  }
}

/** A process that starts on a busy machine may stand still for longer than a short lease lives. It is granted anew. */
function leaseLost(error: unknown): Error {
  if (error instanceof EtcdLeaseInvalidError || error instanceof NoLeaseError) return error
  throw error
}

const taken = (app: AppName, instance: string, value: string): Error => {
  const other = parseNode(value)
  return new Error(
    `Another ${app} process is listed as ${instance}${other ? ` (${other.address})` : ''}. Give this one another TIDINGS_INSTANCE.`,
  )
}

/** @returns undefined for what no process has written */
export function parseNode(value: string): NodeInfo | undefined {
  try {
    const { address, version, bootId, groups, unable } = JSON.parse(value) as Partial<NodeInfo>
    if (typeof address !== 'string' || typeof bootId !== 'string') return undefined
    return {
      ...{ address, version: String(version), bootId },
      ...(Array.isArray(groups) && { groups }),
      ...(Array.isArray(unable) && { unable }),
    }
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}
