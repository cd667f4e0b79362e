/**
 * What operators set while all runs: documents under `config/`. They hang under no lease. Each process that follows one keeps it, and puts
 * it back into an etcd that has lost its data.
 */
import type { Logger, Stoppable } from '@tidings/service'
import { mirror } from './etcd.js'
import type { Registry } from './registry.js'

/** @returns the document's text, or undefined when there is none @throws when etcd does not answer */
export async function readConfigText(registry: Registry, name: string): Promise<string | undefined> {
  return (await registry.etcd.get(registry.keys.config(name)).string()) ?? undefined
}

/** Every process that follows the document learns of it at once. @throws when etcd does not answer */
export async function writeConfigText(registry: Registry, name: string, text: string): Promise<void> {
  await registry.etcd.put(registry.keys.config(name)).value(text).exec()
}

/**
 * Follows a document. The first call of `onText` comes before this resolves.
 * @param onText the whole text at every change; undefined when there is none, or none any more
 */
export async function followConfig(
  registry: Registry,
  name: string,
  onText: (text: string | undefined) => void,
  log: Logger,
): Promise<Stoppable> {
  const { etcd, keys } = registry
  const key = keys.config(name)
  let known: string | undefined

  function tell(text: string | undefined): void {
    known = text
    onText(text)
  }

  /** It was there and nobody has taken it away while we watched: an etcd without it has lost it. */
  async function putBack(text: string): Promise<void> {
    log.warn({ key }, 'a document is gone from etcd; putting it back')
    try {
      await etcd.if(key, 'Mod', '==', 0).then(etcd.put(key).value(text)).commit()
    } catch (error) {
      log.warn({ key, err: error }, 'a document was not put back; it is in force here all the same')
    }
  }

  let loaded = false
  return mirror(
    etcd,
    key,
    {
      reading: () => {
        let found: string | undefined
        return {
          put(at, { value }) {
            if (at === key) found = value
          },
          done() {
            if (found === undefined && known !== undefined) void putBack(known)
            else if (!loaded || found !== known) tell(found)
            loaded = true
          },
        }
      },
      put(at, { value }) {
        if (at === key && value !== known) tell(value)
      },
      delete(at) {
        if (at === key) tell(undefined)
      },
    },
    log,
  )
}
