/**
 * The simulator of catching up, cutover and sweep: the real Flow, Standing, Repair and Marks in a model of everything else, under
 * faults, and then in quiet. As a command: `node apps/connect/dist/test/cutover.sim.js --schedules 1000000 --seed 1`
 */
import { fileURLToPath } from 'node:url'
import { createChances, runAsCommand, SimulatedTime } from '@tidings/service/simulation'
import { Broken, Conversation, Sources } from './model-log.js'
import { Device } from './model-session.js'
import { type Planted, Simulation } from './model-world.js'

const ACTIONS = 60
/** The sweep comes every 30 s; a repair that it begins takes a moment. */
const QUIET_MS = 36_000

/** One schedule. @returns what broke, or undefined */
export function runCutover(seed: number, planted: Planted = {}): string | undefined {
  try {
    new Cutovers(seed, planted).run()
    return undefined
  } catch (error) {
    if (error instanceof Broken) return error.message
    throw error
  }
}

class Cutovers {
  readonly #chances
  readonly #time = new SimulatedTime()
  readonly #sources
  readonly #conversations
  readonly #devices
  readonly #world

  constructor(seed: number, planted: Planted) {
    this.#chances = createChances(seed)
    this.#sources = new Sources(this.#time)
    this.#conversations = ['c1', 'c2', 'c3'].map((name) => new Conversation(name))
    this.#devices = ['phone', 'laptop'].map((name) => new Device(name))
    this.#world = new Simulation(this.#time, this.#chances, this.#sources, this.#devices, planted)
    // A clock of Redis' own, and a conversation that is there before anybody comes.
    this.#sources.clockOffset = 1_000_000 * this.#chances.below(3)
    for (let i = this.#chances.below(12); i > 0; i--) this.#sources.append(this.#conversations[0]!, 'entry')
  }

  run(): void {
    this.#time.pass(100)
    const clockIsSet = this.#chances.below(4 * ACTIONS)
    for (let i = 0; i < ACTIONS; i++) {
      // Once at most: between two looks a clock is not set back and forth.
      if (i === clockIsSet) this.#sources.clockOffset += this.#chances.below(200_000) - 100_000
      this.#time.pass(this.#chances.below(this.#chances.happens(0.1) ? 1_500 : 100))
      this.#sources.noteTrouble()
      this.#act()
      this.#sources.noteTrouble()
    }
    this.#quiet()
    this.#check()
  }

  #act(): void {
    const { pick, below, happens } = this.#chances
    const conversation = pick(this.#conversations)
    const device = pick(this.#devices)
    const chance = this.#chances.next()
    if (chance < 0.5) for (let i = 1 + below(happens(0.1) ? 8 : 2); i > 0; i--) this.#world.append(conversation)
    else if (chance < 0.68) this.#world.connect(device, pick(this.#world.nodes))
    else if (chance < 0.72) device.session?.node.close(device.session)
    else if (chance < 0.8) this.#store(conversation)
    else if (chance < 0.84) this.#congest(device)
    else if (chance < 0.88) this.#leap(conversation)
    else this.#fail()
  }

  /** persist goes on, and the log may be cut below it. */
  #store(conversation: Conversation): void {
    conversation.stored = Math.max(conversation.stored, conversation.head - this.#chances.below(4))
    if (this.#chances.happens(0.5)) conversation.trimmed = this.#chances.below(conversation.stored + 1)
  }

  #congest(device: Device): void {
    const { session } = device
    if (!session) return
    session.congested = true
    this.#time.after(this.#chances.below(3_000), () => {
      session.congested = false
    })
  }

  /** Seqs that hold nothing, or that nobody can tell about for a while; then an entry. */
  #leap(conversation: Conversation): void {
    const kind = this.#chances.happens(0.5) ? 'void' : 'unknown'
    for (let i = 1 + this.#chances.below(3); i > 0; i--) this.#sources.append(conversation, kind)
    this.#world.append(conversation)
    if (kind === 'unknown') {
      this.#time.after(this.#chances.below(6_000), () => {
        this.#sources.noteTrouble()
        conversation.clear(this.#chances.pick(['entry', 'void']))
        conversation.stored = conversation.head
      })
    } else conversation.stored = conversation.head
  }

  #fail(): void {
    const sources = this.#sources
    const which = this.#chances.pick(['logUp', 'mysqlUp', 'mysqlUp', 'etcdUp'] as const)
    sources[which] = false
    this.#time.after(this.#chances.below(4_000), () => {
      sources.noteTrouble()
      sources[which] = true
    })
  }

  /** Nothing fails any more, and what was unclear is clear; everybody who is there has time to be shown all. */
  #quiet(): void {
    this.#world.calm = true
    this.#time.pass(8_000)
    for (const conversation of this.#sources.conversations) {
      conversation.clear('entry')
      conversation.stored = conversation.head
    }
    this.#time.pass(QUIET_MS)
  }

  #check(): void {
    for (const node of this.#world.nodes) {
      for (const session of node.sessions) {
        if (session.state !== 'open') throw new Broken(`a session is ${session.state} for ever`)
        for (const conversation of this.#sources.conversations) {
          const last = session.last(conversation)
          if (last !== conversation.head) {
            throw new Broken(`${session.device.name} stands at ${last} of ${conversation.head} in ${conversation.name}`)
          }
        }
      }
    }
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  runAsCommand('cutover', (seed) => runCutover(seed), process.argv.slice(2))
}
