/** TIDINGS_REDIS_URL taken apart: one server, a primary that Sentinel names, or a cluster. */

export interface RedisAddress {
  host: string
  port: number
}

export interface RedisUrl {
  kind: 'single' | 'sentinel' | 'cluster'
  /** The server; or the sentinels; or some of the cluster's nodes. */
  addresses: RedisAddress[]
  /** What the sentinels call the primary; empty otherwise. */
  primary: string
  username: string | undefined
  password: string | undefined
  /** Speak TLS, with the sentinels too. */
  tls: boolean
}

const SHAPE = /^(rediss?)(?:\+(sentinel|cluster))?:\/\/(?:([^@/]*)@)?([^@/?#]+)(?:\/([^/?#]*))?$/
const ADDRESS = /^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.-]+)(?::(\d{1,5}))?$/
const PORT = { single: 6379, cluster: 6379, sentinel: 26379 }

/**
 * @param text `redis://host:port`, `redis+sentinel://host:port,host:port/name` or `redis+cluster://host:port,host:port`; `rediss` for
 * TLS; `user:password@` before the hosts. A single server's URL may name a database and options, which are the client's affair.
 * @returns undefined when it is none of these
 */
export function parseRedisUrl(text: string): RedisUrl | undefined {
  const single = /^rediss?:/.test(text)
  const match = SHAPE.exec(single ? text.replace(/[?#].*$/, '') : text)
  if (!match || (single && !URL.canParse(text))) return undefined
  const [, scheme, topology, login, hosts, path = ''] = match
  const kind = (topology ?? 'single') as RedisUrl['kind']
  const addresses = hosts!.split(',').map((host) => addressOf(host, PORT[kind]))
  if (addresses.includes(undefined) || (kind === 'single' && addresses.length > 1)) return undefined
  // Only Sentinel knows names; a cluster has no numbered databases.
  if ((kind === 'sentinel') !== (path !== '') && kind !== 'single') return undefined
  const [username, password] = loginOf(login)
  return {
    kind,
    addresses: addresses as RedisAddress[],
    primary: kind === 'sentinel' ? path : '',
    username,
    password,
    tls: scheme === 'rediss',
  }
}

function addressOf(text: string, defaultPort: number): RedisAddress | undefined {
  const match = ADDRESS.exec(text)
  const port = Number(match?.[2] ?? defaultPort)
  return match && port > 0 && port <= 65_535 ? { host: match[1]!.replace(/^\[|\]$/g, ''), port } : undefined
}

function loginOf(text: string | undefined): [string | undefined, string | undefined] {
  if (!text) return [undefined, undefined]
  const colon = text.indexOf(':')
  const user = decoded(colon < 0 ? text : text.slice(0, colon))
  const password = colon < 0 ? '' : decoded(text.slice(colon + 1))
  return [user || undefined, password || undefined]
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    // A percent sign that encodes nothing stands for itself.
    return text
  }
}
