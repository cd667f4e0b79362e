/** How many connections one address may have on this node. They are counted here and nowhere else: each node gives as many. */
import { AppError } from '@tidings/protocol'
import { networkOf } from '@tidings/service'

export interface AddressLimit {
  /** Counts a connection. @returns a function that counts it off, once @throws AppError `rate_limited` */
  count(address: string): () => void
}

/** @param limits perAddress, as it is at each connection; Infinity: they are not counted */
export function createAddressLimit(limits: { readonly perAddress: number }): AddressLimit {
  const counts = new Map<string, number>()
  return {
    count(address) {
      const most = limits.perAddress
      if (most === Number.POSITIVE_INFINITY) return () => undefined
      const network = networkOf(address)
      const before = counts.get(network) ?? 0
      if (before >= most)
        throw new AppError('rate_limited', 'Too many connections from this address.', { retryAfter: 5 })
      counts.set(network, before + 1)
      return () => {
        const left = counts.get(network)! - 1
        if (left > 0) counts.set(network, left)
        else counts.delete(network)
      }
    },
  }
}
