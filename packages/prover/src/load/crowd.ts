/** Who talks to whom: users, their devices and senders, readers of history, and strangers who must see nothing. */
import type { History } from '../history.js'
import type { Plan } from '../plan.js'
import { within } from '../until.js'
import { chanceOf } from './chance.js'
import { type Conversation, type Feed, feedFor, makeConversations } from './conversations.js'
import { Device, type DeviceOptions } from './device.js'
import { sendOne } from './http.js'
import { type Message, makeMessage } from './message.js'
import { makeMix } from './mix.js'
import { startReader } from './reader.js'
import { type Counts, type Kept, Sender, type Way } from './sender.js'
import type { Target } from './target.js'
import { messagesOf, type There } from './there.js'

const WAYS: readonly Way[] = ['http', 'socket', 'batch', 'http']
const PROBE_RETRY_MS = 50

export interface CrowdOptions {
  target: Target
  history: History
  seed: number
  /** First part of every user's name: unique to the run. */
  name: string
  /** How many conversations; each has two users, and users are in two. The last one is quiet. */
  conversations: number
  /** Messages a second, all senders together. */
  rate: number
  /** Changes and pushes a second; none when left out. */
  changes?: number
  /** One device a user, and none that comes and goes: nothing but what a fault does makes a node look again. */
  still?: boolean
  tailLost?: boolean
}

export interface Crowd {
  readonly conversations: readonly Conversation[]
  /** What is pushed to each user, where something is. */
  readonly feeds: readonly Feed[]
  readonly devices: readonly Device[]
  readonly users: readonly string[]
  plan(rest: Omit<Plan, 'seed' | 'members' | 'prober' | 'devices'>): Plan
  start(): Promise<void>
  /** Messages answered so far. */
  counts(): Counts
  /** A message that a fault sends itself: repeated until it is accepted. @param how its length, and over which api if not over all in turn */
  send(conversation: Conversation, how?: { size?: number; api?: number | undefined }): Promise<Kept>
  /** Changes of messages that a fault has sent, and a push, where there are such: repeated until they are accepted. */
  alter(kept: readonly Kept[]): Promise<void>
  /** Messages that a fault has made itself: as above. */
  deliver(messages: readonly Message[]): Promise<void>
  /** One fresh message per conversation, until each is accepted and on every live device. @returns them, or undefined when not in time */
  probe(withinMs: number): Promise<Message[] | undefined>
  /** A device that nobody has seen before. */
  addDevice(user: string, name: string, options?: Partial<DeviceOptions>): Device
  /** No more messages. */
  finish(withinMs: number): Promise<void>
  /**
   * What senders do after a Redis that forgot: whatever they still keep (no `stored` came for it on the socket, or it went over HTTP, where
   * none comes) and a history does not have any more is sent again with its clientId; then changes and pushes. @returns how many
   */
  sendAgain(): Promise<number>
  stop(): Promise<void>
}

export function makeCrowd(options: CrowdOptions): Crowd {
  const { target, history, seed, name, rate } = options
  const chance = chanceOf(seed)
  const conversations = makeConversations(name, options.conversations, chance)
  const users = [...new Set(conversations.flatMap((one) => one.users))].sort()
  const strangers = [`${name}-s0`]
  const prober = `${name}-p`
  const feeds: Feed[] = options.changes && target.service ? users.map((user) => feedFor(user, chance)) : []
  const canaries = new Map([...conversations, ...feeds].map(({ canary, conv }) => [canary, conv]))
  const begins: Plan['devices'] = {}
  const devices: Device[] = []
  const steady = new Map<string, Device>()
  const stops: (() => Promise<void>)[] = []
  const senders: Sender[] = []
  const senderOf = (way: Way): Sender =>
    new Sender({
      name: prober,
      way,
      target,
      history,
      chance,
      device: undefined,
      make: () => {
        throw new Error('it makes none by itself')
      },
      everyMs: 0,
    })
  const own = senderOf('http')
  const batches = senderOf('batch')

  const convsOf = (user: string): Set<string> =>
    new Set(
      [...conversations, ...feeds]
        .filter((one) => (one.users as readonly string[]).includes(user))
        .map(({ conv }) => conv),
    )

  const mix = options.changes
    ? makeMix({
        target,
        history,
        chance: chanceOf(chance.between(0, 2 ** 31)),
        name,
        conversations,
        users,
        strangers,
        canaries: new Map(feeds.map(({ conv, canary }) => [conv, canary])),
        accepted: () => senders.map(({ accepted }) => accepted),
        rate: options.changes,
      })
    : undefined

  function addDevice(user: string, device: string, over: Partial<DeviceOptions> = {}): Device {
    const made = new Device({
      user,
      name: device,
      target,
      history,
      chance: chanceOf(chance.between(0, 2 ** 31)),
      canaries,
      mine: convsOf(user),
      begins: 'first',
      tailLost: options.tailLost ?? false,
      ...over,
    })
    begins[made.proc] = made.options.begins
    devices.push(made)
    return made
  }

  function addDevices(): void {
    for (const [i, user] of users.entries()) {
      steady.set(user, addDevice(user, 'phone'))
      if (options.still) continue
      if (i % 2 === 0) addDevice(user, 'laptop', { leaves: { afterMs: 3_000, forMs: 800 } })
      else addDevice(user, 'tablet', { resumes: true, leaves: { afterMs: 4_000, forMs: 1_500 } })
    }
    for (const user of strangers) steady.set(user, addDevice(user, 'phone'))
  }

  function addSenders(): void {
    const loud = conversations.filter(({ quiet }) => !quiet)
    const everyMs = (1_000 * loud.length * 3) / rate
    for (const [i, one] of loud.entries())
      for (let k = 0; k < 3; k++) {
        const [from, to] = k % 2 === 0 ? one.users : [one.users[1], one.users[0]]
        senders.push(
          new Sender({
            name: `${from}-${i}${k}`,
            way: WAYS[(i + k) % WAYS.length]!,
            target,
            history,
            chance: chanceOf(chance.between(0, 2 ** 31)),
            device: steady.get(from),
            make: (clientId) => makeMessage(one.conv, from, to, clientId, one.canary, chance.between(10, 400)),
            everyMs,
          }),
        )
      }
  }

  function messageFor({ conv, users: [from, to], canary }: Conversation, size?: number): Message {
    return makeMessage(conv, from, to, own.nextClientId(), canary, size)
  }

  async function probeOne(one: Conversation, withinMs: number): Promise<Message | undefined> {
    const message = messageFor(one)
    const began = performance.now()
    const left = (): number => withinMs - (performance.now() - began)
    const record = (type: 'invoke' | 'ok' | 'fail' | 'info', more: object = {}): void => {
      const { conv, from, clientId, bodyHash } = message
      history.record({ proc: prober, type, f: 'send', conv, from, clientId, bodyHash, ...more })
    }
    for (let attempt = 0; ; attempt++) {
      record('invoke')
      const base = target.apis[attempt % target.apis.length]!
      const outcome = await sendOne(base, target.token(message.from), message)
      if (outcome.type === 'ok') {
        record('ok', { id: outcome.id, seq: outcome.seq })
        own.accepted.push({ message, id: outcome.id, seq: outcome.seq })
        break
      }
      record(outcome.type, { detail: outcome.code })
      if (left() < 0) return undefined
      await within(() => false, PROBE_RETRY_MS)
    }
    const shown = (): boolean => one.users.every((user) => steady.get(user)!.has(message.from, message.clientId))
    return (await within(shown, Math.max(left(), 0))) ? message : undefined
  }

  async function everything(): Promise<Map<string, There>> {
    const all = new Map<string, There>()
    for (const { conv, users: who } of [...conversations, ...feeds])
      all.set(conv, await messagesOf(target, who[0], conv))
    return all
  }

  return {
    conversations,
    feeds,
    devices,
    users,
    plan: (rest) => ({
      seed,
      members: Object.fromEntries([...conversations, ...feeds].map(({ conv, users: who }) => [conv, [...who]])),
      prober,
      devices: begins,
      ...rest,
    }),
    async start() {
      addDevices()
      if (!(await within(() => devices.every(({ live }) => live), 20_000)))
        throw new Error('the devices did not get through their opening')
      addSenders()
      for (const sender of senders) sender.start()
      mix?.start()
      stops.push(startReader({ target, history, chance, conversations, strangers }))
    },
    counts() {
      const sum: Counts = { ok: 0, unknown: 0, refused: 0 }
      for (const { counts } of [...senders, own, batches])
        for (const name of ['ok', 'unknown', 'refused'] as const) sum[name] += counts[name]
      return sum
    },
    async send(conversation, { size, api } = {}) {
      const message = messageFor(conversation, size)
      await own.deliver([message], api)
      return own.accepted.find((kept) => kept.message === message)!
    },
    async alter(kept) {
      await mix?.alter(kept)
    },
    deliver: (messages) => batches.deliver(messages),
    async probe(withinMs) {
      const done = await Promise.all(conversations.map((one) => probeOne(one, withinMs)))
      return done.every((message) => message !== undefined) ? done : undefined
    },
    addDevice,
    async finish(withinMs) {
      await Promise.all([...senders, own, batches, mix].map((one) => one?.finish(withinMs)))
    },
    async sendAgain() {
      const kept = new Map(
        [...senders, own, batches].flatMap(({ accepted }) => accepted).map((one) => [one.message, one]),
      )
      const lost: Message[] = []
      for (const { conv, users: who } of conversations) {
        const there = await messagesOf(target, who[0], conv)
        for (const [message, { seq, over }] of kept) {
          if (message.conv !== conv || there.has(`${message.from} ${message.clientId}`)) continue
          if (over?.keeps(conv, seq) ?? true) lost.push(message)
        }
      }
      for (const message of lost) {
        const { conv, from, clientId } = message
        history.record({ proc: prober, type: 'info', f: 'again', conv, from, clientId })
        await own.deliver([message])
      }
      // By now their targets have the ids that changes must name.
      return lost.length + (mix ? await mix.sendAgain(await everything()) : 0)
    },
    async stop() {
      await Promise.all(stops.map((stop) => stop()))
      await Promise.all([...senders, own, batches, mix].map((one) => one?.finish(0)))
      await Promise.all(devices.map((device) => device.stop()))
    },
  }
}
