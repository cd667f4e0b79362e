/** Lists sessions in etcd as connect nodes do: many in a transaction, each under its node's lease. */
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { Etcd3 } from 'etcd3'
import { NAMESPACE, nodeName, type Phase, type SessionPlan, userName } from './routes-plan.js'

/** As a node puts into one transaction. */
const PER_TRANSACTION = 100
const AT_ONCE = 16
/** They end when they are revoked, not by themselves. */
const LEASE_S = 24 * 3_600
const STRANGER_MS = 60_000

/** All nodes, seen from etcd. */
export class Nodes {
  readonly #etcd: Etcd3
  readonly #leases: string[] = []

  constructor(
    etcdUrl: string,
    private readonly plan: SessionPlan,
  ) {
    this.#etcd = new Etcd3({ hosts: etcdUrl })
  }

  /** Grants the nodes' leases. */
  async open(): Promise<void> {
    for (let i = 0; i < this.plan.nodes; i++) {
      const { ID } = await this.#etcd.leaseClient.leaseGrant({ TTL: LEASE_S })
      this.#leases.push(ID)
    }
  }

  /** Lists sessions where they are in that phase, each with an id of its own. */
  async list(sessions: readonly number[], phase: Phase): Promise<void> {
    let next = 0
    const work = async (): Promise<void> => {
      while (next < sessions.length) {
        const some = sessions.slice(next, next + PER_TRANSACTION)
        next += PER_TRANSACTION
        await this.#put(some, phase)
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, work))
  }

  async #put(sessions: readonly number[], phase: Phase): Promise<void> {
    const puts = sessions.map((session) => {
      const node = this.plan.nodeOf(session, phase)!
      const key = `/${NAMESPACE}/users/${userName(this.plan.userOf(session))}/${randomBytes(12).toString('base64url')}`
      return this.#etcd
        .put(key)
        .value(JSON.stringify({ node: nodeName(node), device: 'default' }))
        .lease(this.#leases[node]!)
    })
    await this.#etcd
      .if('-', 'Version', '>', -1)
      .then(...puts)
      .commit()
  }

  /** One more session, of somebody else; again until an etcd that has just been started takes it. */
  async addStranger(): Promise<void> {
    const value = JSON.stringify({ node: nodeName(1), device: 'default' })
    const deadline = performance.now() + STRANGER_MS
    for (;;) {
      try {
        await this.#etcd.put(`/${NAMESPACE}/users/stranger/1`).value(value)
        return
      } catch (error) {
        if (performance.now() > deadline) throw error
        await sleep(100)
      }
    }
  }

  /** The first node's lease ends, and all that hangs under it. */
  async killFirst(): Promise<void> {
    await this.#etcd.leaseClient.leaseRevoke({ ID: this.#leases[0]! })
  }

  close(): void {
    this.#etcd.close()
  }
}
