/** People who are connected while others write to each other, and hear nothing of it. */
import { mintToken } from '../tokens.js'
import { Fleet, PER_PROCESS } from './fleet.js'
import { type Order, TOKEN_LIFE_S } from './order.js'
import { Receiver } from './receiver.js'

const OPENING_AT_ONCE = 16

export interface Bystanders {
  /** Resolves when whatever one of them heard has been told. */
  asked(): Promise<void>
  leave(): void
}

/** Connects as many as the scale says. @param fault told when one of them hears something or is sent away */
export function seatBystanders(order: Order, crowd: string, fault: (what: string) => void): Promise<Bystanders> {
  return order.scale.bystanders < PER_PROCESS / 2 ? seatHere(order, crowd, fault) : seatElsewhere(order, fault)
}

async function seatHere(
  { scale, websockets, jwtSecret }: Order,
  crowd: string,
  fault: (what: string) => void,
): Promise<Bystanders> {
  const seated: Receiver[] = []
  let next = 0
  async function open(): Promise<void> {
    for (let i = next++; i < scale.bystanders; i = next++) {
      const token = mintToken(jwtSecret, `${crowd}-b${i}`, TOKEN_LIFE_S)
      const bystander = await Receiver.open(websockets[i % websockets.length]!, token, {
        message: () => fault(`bystander ${i} was shown a message`),
        unexpected: (what) => fault(`bystander ${i}: ${what}`),
      })
      seated.push(bystander)
    }
  }
  const leave = (): void => {
    for (const bystander of seated) bystander.close()
  }
  const opened = await Promise.allSettled(Array.from({ length: OPENING_AT_ONCE }, open))
  const failed = opened.find((each) => each.status === 'rejected')
  // What they hear is told at once.
  if (!failed) return { asked: async () => {}, leave }
  leave()
  throw failed.reason
}

/** In client processes of their own: one process may have only so many files. They are asked at the end what they heard. */
async function seatElsewhere(order: Order, fault: (what: string) => void): Promise<Bystanders> {
  const fleet = new Fleet(order, order.scale.bystanders)
  const tell = (answers: readonly { faults: string[] }[]): void => {
    for (const { faults } of answers) for (const what of faults) fault(`bystanders: ${what}`)
  }
  try {
    tell(await fleet.open())
  } catch (error) {
    fleet.close()
    throw error
  }
  return { asked: async () => tell(await fleet.drop()), leave: () => fleet.close() }
}
