/** A client process of the storm: a share of the devices, told what to do by the generator. One process may have only so many files. */
import { setTimeout as sleep } from 'node:timers/promises'
import { AwayDevice } from './away.js'
import type { StormAnswer, StormCommand, StormShare } from './fleet.js'
import { seeded } from './random.js'
import { LatencyRecorder } from './statistics.js'
import { createTurns } from './turns.js'

/** What one process can open without its own queue becoming what is measured: a socket that says nothing for ten seconds is closed. */
const OPENING_AT_ONCE = 128
const EXAMPLES = 10
/** The kernel looks for a free port of an address by trying: with thousands taken on one this costs more than the whole opening. */
const ADDRESSES = 64

const faults: string[] = []
const fault = (what: string): void => {
  if (faults.length < EXAMPLES) faults.push(what)
}
let devices: AwayDevice[] = []
let share: StormShare
let random: () => number

async function obey(command: StormCommand): Promise<StormAnswer> {
  switch (command.do) {
    case 'open':
      return open(command.share)
    case 'drop':
      for (const device of devices) device.drop()
      return { faults }
    case 'return':
      return comeBack(command.spreadMs, command.longestMs)
  }
}

async function open(own: StormShare): Promise<StormAnswer> {
  share = own
  random = seeded(share.from + 1)
  const { websockets, jwtSecret } = share
  devices = Array.from({ length: share.count }, (_, n) => {
    const i = share.from + n
    return new AwayDevice(i, websockets[i % websockets.length]!, jwtSecret, random, fault)
  })
  let next = 0
  const work = async (): Promise<void> => {
    for (let i = next++; i < devices.length; i = next++) await devices[i]!.open(addressOf(1, i))
  }
  await Promise.all(Array.from({ length: OPENING_AT_ONCE }, work))
  return { faults }
}

/** A loopback address that no other client process uses. @param phase 1: the first opening, 2: the return */
const addressOf = (phase: number, device: number): string => `127.${phase}.${share.number}.${1 + (device % ADDRESSES)}`

/** All at once, each after a random part of the spread. From another address: the ports of the dropped ones still linger. */
async function comeBack(spreadMs: number, longestMs: number): Promise<StormAnswer> {
  const patience = { over: false }
  const turns = createTurns(OPENING_AT_ONCE)
  const all = Promise.all(
    devices.map((device, i) => device.return(addressOf(2, i), random() * spreadMs, { patience, turns })),
  )
  await Promise.race([all, sleep(longestMs)])
  patience.over = true
  const back = new LatencyRecorder(longestMs * 1_000)
  const inVain: Record<string, number> = {}
  for (const device of devices) {
    const missing = device.missing()
    if (missing !== undefined) fault(missing)
    if (device.backMs > 0) back.record(device.backMs * 1_000)
    for (const why of device.failures) inVain[why] = (inVain[why] ?? 0) + 1
  }
  return { faults, inVain, back: back.take() }
}

process.on('message', (command: StormCommand) => {
  obey(command).then(
    (answer) => process.send!(answer),
    (error: unknown) => process.send!({ faults: [...faults, String(error)] } satisfies StormAnswer),
  )
})
// Whoever sent us ends: so do we.
process.on('disconnect', () => process.exit())
