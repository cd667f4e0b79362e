/** People who are connected while others write to each other, and hear nothing of it. */
import { mintToken } from '../tokens.js'
import type { Order } from './order.js'
import { Receiver } from './receiver.js'

const TOKEN_LIFE_S = 3_600
const OPENING_AT_ONCE = 16

export interface Bystanders {
  leave(): void
}

/** Connects as many as the scale says. @param fault told when one of them hears something or is sent away */
export async function seatBystanders(
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
  if (!failed) return { leave }
  leave()
  throw failed.reason
}
