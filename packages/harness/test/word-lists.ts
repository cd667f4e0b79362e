/** What the tests of the word filter share: an operator who changes the list, and how it is seen to be in force. */
import { randomBytes } from 'node:crypto'
import { connectEtcd, createRegistryKeys } from '@tidings/registry'
import { signedHeaders } from '@tidings/service'
import type { Test } from 'tap'
import { until, type World } from '../src/index.js'

export interface Lists {
  put(list: object | string): Promise<void>
  remove(): Promise<void>
  get(): Promise<string | null>
}

/** As an operator writes it into etcd. */
export function lists(t: Test, w: World): Lists {
  const etcd = connectEtcd([w.env.TIDINGS_ETCD_URL!])
  const key = createRegistryKeys(w.namespace).config('words')
  t.teardown(async () => {
    await etcd.delete().key(key).exec()
    etcd.close()
  })
  return {
    put: async (list) =>
      void (await etcd
        .put(key)
        .value(typeof list === 'string' ? list : JSON.stringify(list))
        .exec()),
    remove: async () => void (await etcd.delete().key(key).exec()),
    get: () => etcd.get(key).string(),
  }
}

export async function metric(w: World, instance: string, name: string): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${w.ops.get(instance)}/metrics`)).text()
  const line = text.split('\n').find((one) => one.startsWith(name) && !one.startsWith('#'))
  return line === undefined ? 0 : Number(line.split(' ').at(-1))
}

/** On both edges. */
export const inForce = (w: World, words: number): Promise<void> =>
  until(
    `${words} words are in force`,
    async () =>
      (await metric(w, 'api-1', 'tidings_words_listed')) === words &&
      (await metric(w, 'connect-1', 'tidings_words_listed')) === words,
    5_000,
  )

export const KEY = { name: 'ops', secret: randomBytes(32).toString('hex') }

/** A signed call. */
export function operator(w: World, method: string, path: string, body?: object) {
  const text = body === undefined ? '' : JSON.stringify(body)
  const headers = signedHeaders(KEY, { method, target: `/api/v1/${path}`, body: text })
  return w.http(method, path, { headers, ...(text !== '' && { body: text }) })
}
