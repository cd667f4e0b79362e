/** Who signs the calls of operators in a world. */
import { randomBytes } from 'node:crypto'
import { signedHeaders } from '@tidings/service'
import type { Env, Reply, World } from './world.js'

type SignedCall = <T = Record<string, unknown>>(
  method: string,
  path: string,
  body?: unknown,
  api?: number,
) => Promise<Reply<T>>

/** @returns the setting that lets a new operator in, its key, and how it calls an api process of a world */
export function operatorOf(): { env: Env; key: { name: string; secret: string }; call(world: World): SignedCall } {
  const key = { name: 'ops', secret: randomBytes(32).toString('hex') }
  return {
    env: { TIDINGS_ADMIN_KEYS: `${key.name}:${key.secret}` },
    key,
    call:
      ({ http }) =>
      (method, path, body, api = 0) => {
        const text = body === undefined ? '' : JSON.stringify(body)
        const headers = signedHeaders(key, { method, target: `/api/v1/${path}`, body: text })
        return http(method, path, { headers, api, ...(text !== '' && { body: text }) })
      },
  }
}
