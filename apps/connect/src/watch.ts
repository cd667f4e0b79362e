/**
 * Who watches whom, at this node. What the bus says of somebody is a hint: that a user has left one node is told to the watchers only when
 * etcd lists no session of theirs on another. All who are watched are looked up now and then, for hints may be lost.
 */
import type { LogicClient } from '@tidings/accept'
import { AppError, type PresenceEvent } from '@tidings/protocol'
import type { LiveDevices, NodeInfo } from '@tidings/registry'
import type { Logger, Stoppable } from '@tidings/service'
import type { Session } from './session.js'
import { createSlots } from './slots.js'

export const MAX_WATCHED = 200
/** Pairs of a session and somebody it watches. */
const MAX_PAIRS = 1_000_000
const CHECKS_AT_ONCE = 8
const CHECKS_IN_LINE = 512
const LOOK_EVERY_MS = 30_000
const PER_LOOK = 500
/** Most of those whose node is gone come back on another one. */
const AFTER_NODE_MS = 5_000

export interface Watch extends Stoppable {
  /**
   * Replaces whom the session watches, and tells it who of them is online. Those who share no conversation with its user are left out.
   * @throws AppError `overloaded`, `unavailable`
   */
  watch(session: Session, users: readonly string[]): Promise<void>
  /** The session is gone. */
  forget(session: Session): void
  event(event: PresenceEvent): void
  /** The connect nodes that etcd lists. One that is gone had no time to say who left with it. */
  nodes(listed: ReadonlyMap<string, Pick<NodeInfo, 'bootId'>>): void
  /** Something may have been missed. */
  lookAgain(): void
  /** Users that are watched here. */
  readonly size: number
}

interface Person {
  online: boolean
  watchers: Set<Session>
}

export function createWatch(deps: {
  logic: Pick<LogicClient, 'presence'>
  live: LiveDevices
  lookEveryMs?: number
  afterNodeMs?: number
  log: Logger
}): Watch {
  const { logic, live, lookEveryMs = LOOK_EVERY_MS, afterNodeMs = AFTER_NODE_MS, log } = deps
  const people = new Map<string, Person>()
  const lists = new Map<Session, readonly string[]>()
  /** What each session asked for last: an answer to something before it is not wanted any more. */
  const newest = new WeakMap<Session, object>()
  /** Answers that are on their way, with those of whom something was heard meanwhile. */
  const checks = new Set<{ users: ReadonlySet<string>; heardOf: Set<string> }>()
  const slots = createSlots(CHECKS_AT_ONCE, CHECKS_IN_LINE)
  let pairs = 0
  let looking: Promise<void> | undefined
  let stopped = false
  let boots: ReadonlySet<string> = new Set()
  let afterNode: NodeJS.Timeout | undefined

  function tell(user: string, person: Person, online: boolean): void {
    if (person.online === online) return
    person.online = online
    const frame = frameOf(user, online)
    for (const session of person.watchers) session.show(frame)
  }

  function forget(session: Session): void {
    const users = lists.get(session)
    if (!users) return
    lists.delete(session)
    pairs -= users.length
    for (const user of users) {
      const person = people.get(user)
      if (person?.watchers.delete(session) && person.watchers.size === 0) people.delete(user)
    }
  }

  async function check(session: Session, users: ReadonlySet<string>, isStale: () => boolean): Promise<void> {
    if (isStale()) return
    const checking = { users, heardOf: new Set<string>() }
    checks.add(checking)
    try {
      const answer = await logic.presence({ user: session.user, users: [...users] })
      if (isStale()) return
      forget(session)
      lists.set(
        session,
        answer.people.map(({ user }) => user),
      )
      pairs += answer.people.length
      for (const { user, online } of answer.people) begin(session, user, online)
      await confirm([...checking.heardOf])
    } finally {
      checks.delete(checking)
    }
  }

  function begin(session: Session, user: string, online: boolean): void {
    const person = people.get(user) ?? { online, watchers: new Set() }
    people.set(user, person)
    tell(user, person, online)
    person.watchers.add(session)
    session.show(frameOf(user, online))
  }

  async function confirm(users: readonly string[]): Promise<void> {
    const watched = users.filter((user) => people.has(user))
    if (watched.length === 0) return
    try {
      const devices = await live.of(watched)
      for (const [i, user] of watched.entries()) {
        const person = people.get(user)
        if (person) tell(user, person, devices[i]! > 0)
      }
    } catch (error) {
      log.debug({ err: error, users: watched.length }, 'who is online is looked up later')
    }
  }

  async function lookAtAll(): Promise<void> {
    const all = [...people.keys()]
    for (let at = 0; at < all.length && !stopped; at += PER_LOOK) await confirm(all.slice(at, at + PER_LOOK))
  }

  function lookAgain(): void {
    looking ??= lookAtAll().finally(() => {
      looking = undefined
    })
  }

  const timer = setInterval(lookAgain, lookEveryMs)
  return {
    async watch(session, users) {
      const mine = {}
      newest.set(session, mine)
      const wanted = new Set(users)
      if (wanted.size === 0) {
        forget(session)
        return
      }
      if (pairs + wanted.size > MAX_PAIRS) {
        throw new AppError('overloaded', 'Too many are watched at this node.', { retryAfter: 5 })
      }
      await slots.run(() => check(session, wanted, () => session.closed || newest.get(session) !== mine))
    },
    forget,
    event({ user, online }) {
      for (const checking of checks) if (checking.users.has(user)) checking.heardOf.add(user)
      const person = people.get(user)
      if (!person || person.online === online) return
      if (online) tell(user, person, true)
      else void confirm([user])
    },
    nodes(listed) {
      const now = new Set([...listed.values()].map(({ bootId }) => bootId))
      if ([...boots].some((id) => !now.has(id))) {
        clearTimeout(afterNode)
        afterNode = setTimeout(lookAgain, afterNodeMs)
      }
      boots = now
    },
    lookAgain,
    get size() {
      return people.size
    },
    async stop() {
      stopped = true
      clearInterval(timer)
      clearTimeout(afterNode)
      await looking
    },
  }
}

const frameOf = (user: string, online: boolean): string => JSON.stringify({ op: 'presence', user, online })
