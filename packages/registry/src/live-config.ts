/** What operators change while everything runs: one text under a name in etcd, told to whoever watches. */
import { AppError } from '@tidings/protocol'
import type { Logger, Stoppable } from '@tidings/service'
import { atOnce, mirror } from './etcd.js'
import type { Registry } from './registry.js'

export interface LiveConfig {
  /** @returns undefined where nothing is set @throws AppError `unavailable` */
  read(): Promise<string | undefined>
  /** @throws AppError `unavailable`: perhaps it was written; repeat it */
  write(text: string): Promise<void>
  /** Back to what the settings say. @throws AppError `unavailable`: repeat it */
  clear(): Promise<void>
}

/** @param name below /tidings/config/ */
export function liveConfig({ etcd, keys }: Pick<Registry, 'etcd' | 'keys'>, name: string): LiveConfig {
  const key = keys.config(name)
  async function orAway<T>(answer: PromiseLike<T>): Promise<T> {
    try {
      return await answer
    } catch (cause) {
      throw new AppError('unavailable', 'etcd does not answer now.', { cause, retryAfter: 1 })
    }
  }
  return {
    read: async () => (await orAway(etcd.get(key).string())) ?? undefined,
    write: async (text) => void (await orAway(etcd.put(key).value(text).exec())),
    clear: async () => void (await orAway(etcd.delete().key(key).exec())),
  }
}

/**
 * Tells what is set, now and at every change; while etcd is away what was told last holds.
 * @param onChange called before this resolves; undefined where nothing is set
 */
export async function watchLiveConfig(
  { etcd, keys }: Pick<Registry, 'etcd' | 'keys'>,
  name: string,
  onChange: (text: string | undefined) => void,
  log: Logger,
): Promise<Stoppable> {
  const key = keys.config(name)
  return mirror(
    etcd,
    key,
    {
      reading: atOnce((all) => onChange(all.get(key)?.value)),
      put: (of, { value }) => {
        if (of === key) onChange(value)
      },
      delete: (of) => {
        if (of === key) onChange(undefined)
      },
    },
    log,
  )
}
