/** How many connections one address may have on this node. They are counted here and nowhere else: each node gives as many. */
import { AppError } from '@tidings/protocol'
import { networkOf } from '@tidings/service'

export interface Places {
  /** Takes a place. @returns a function that gives it back, once @throws AppError `rate_limited` */
  take(address: string): () => void
}

/** @param most Infinity: they are not counted */
export function createPlaces(most: number): Places {
  const taken = new Map<string, number>()
  return {
    take(address) {
      if (most === Number.POSITIVE_INFINITY) return () => undefined
      const network = networkOf(address)
      const before = taken.get(network) ?? 0
      if (before >= most)
        throw new AppError('rate_limited', 'Too many connections from this address.', { retryAfter: 5 })
      taken.set(network, before + 1)
      return () => {
        const left = taken.get(network)! - 1
        if (left > 0) taken.set(network, left)
        else taken.delete(network)
      }
    },
  }
}
