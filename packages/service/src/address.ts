/** Whose address a request comes from, and what counts as one. */
import { BlockList, isIPv4, isIPv6 } from 'node:net'

/** The eight groups of an IPv6 address. */
function groupsOf(address: string): number[] {
  const [head = '', tail] = address.split('%')[0]!.split('::')
  const front = head === '' ? [] : head.split(':')
  const back = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = tail === undefined ? [] : Array.from({ length: Math.max(0, 8 - front.length - back.length) }, () => '0')
  return [...front, ...zeros, ...back].map((group) => Number.parseInt(group, 16))
}

/** An IPv4 address that is written as an IPv6 one, as an IPv4 one; all others as they are. */
function plain(address: string): string {
  const dotted = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1]
  if (dotted !== undefined || !isIPv6(address)) return dotted ?? address
  const groups = groupsOf(address)
  const [high = 0, low = 0] = groups.slice(6)
  const isMapped = groups[5] === 0xffff && groups.slice(0, 5).every((group) => group === 0)
  return isMapped ? [high >> 8, high & 255, low >> 8, low & 255].join('.') : address
}

/** Whoever has one IPv6 address has at least the 2^64 beside it: those count as one. An IPv4 address stays as it is. */
export function networkOf(address: string): string {
  const one = plain(address)
  if (!isIPv6(one)) return one
  const front = groupsOf(one).slice(0, 4)
  return `${front.map((group) => group.toString(16)).join(':')}::`
}

/**
 * @param networks in CIDR notation
 * @returns a function that tells whether an address lies in one of them; what is no address lies in none
 */
export function createNetworks(networks: readonly string[]): (address: string) => boolean {
  const listed = new BlockList()
  for (const one of networks) {
    const [network = '', bits] = one.split('/')
    listed.addSubnet(network, Number(bits), isIPv4(network) ? 'ipv4' : 'ipv6')
  }
  return (given) => {
    const address = plain(given)
    return (isIPv4(address) || isIPv6(address)) && listed.check(address, isIPv4(address) ? 'ipv4' : 'ipv6')
  }
}

/** Is it a network in CIDR notation? */
export function isNetwork(text: string): boolean {
  const match = /^([0-9a-fA-F:.]+)\/(\d{1,3})$/.exec(text)
  if (!match) return false
  const [, network = '', bits] = match
  return (isIPv4(network) && Number(bits) <= 32) || (isIPv6(network) && Number(bits) <= 128)
}

/**
 * @param proxies networks in CIDR notation, whose X-Forwarded-For is believed
 * @returns a function that tells the address of a client from that of the other end of the socket and the header
 */
export function createClientAddress(proxies: readonly string[]): (peer: string, forwardedFor: string) => string {
  const isTrusted = createNetworks(proxies)
  return (peer, forwardedFor) => {
    let address = plain(peer)
    if (proxies.length === 0 || forwardedFor === '') return address
    // Each proxy has added whom it saw at the end: what stands before one that is not ours may be made up.
    for (const before of forwardedFor.split(',').reverse()) {
      if (!isTrusted(address)) break
      address = plain(before.trim())
    }
    return address
  }
}
