/** etcd as an operator reaches it: its JSON gateway. */
import { callEtcd, setOutOfSpace } from '@tidings/infra'

const encode = (text: string): string => Buffer.from(text).toString('base64')
const decode = (text: string): string => Buffer.from(text, 'base64').toString()
/** The first key behind all keys with the prefix. */
const endOf = (prefix: string): string =>
  `${prefix.slice(0, -1)}${String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1)}`

export interface EtcdKey {
  key: string
  value: string
  lease: string
}

interface Range {
  header: { revision: string }
  kvs?: { key: string; value?: string; lease?: string }[]
}

export interface Etcd {
  list(prefix: string): Promise<EtcdKey[]>
  remove(key: string): Promise<void>
  revoke(lease: string): Promise<void>
  /** Forgets all history up to now. @returns the revision */
  compact(): Promise<number>
  /** Raises the alarm that etcd raises when its database has reached its quota, and obeys until it is put down. */
  outOfSpace(raised: boolean): Promise<void>
  /** Does it take a write? */
  takesWrites(): Promise<boolean>
}

export function openEtcd(url: string): Etcd {
  const call = <T>(path: string, body: object): Promise<T> => callEtcd<T>(url, path, body)
  const range = (prefix: string): Promise<Range> =>
    call('kv/range', { key: encode(prefix), range_end: encode(endOf(prefix)) })
  return {
    async list(prefix) {
      const { kvs = [] } = await range(prefix)
      return kvs.map(({ key, value = '', lease = '0' }) => ({ key: decode(key), value: decode(value), lease }))
    },
    async remove(key) {
      await call('kv/deleterange', { key: encode(key) })
    },
    async revoke(lease) {
      await call('lease/revoke', { ID: lease })
    },
    async compact() {
      const { header } = await range('/')
      await call('kv/compaction', { revision: header.revision })
      return Number(header.revision)
    },
    outOfSpace: (raised) => setOutOfSpace(url, raised),
    takesWrites: () =>
      call('kv/put', { key: encode('/probe') }).then(
        () => true,
        () => false,
      ),
  }
}
