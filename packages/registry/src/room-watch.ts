/** Changes of rooms, told to every node: an event that a push has told already, most of the time. */
import type { Logger, Stoppable } from '@tidings/service'
import { atOnce, mirror } from './etcd.js'
import type { Registry } from './registry.js'
import type { RoomNotice } from './rooms.js'

/**
 * Tells of changes from now on.
 * @param listener.changed a room and what changed in it
 * @param listener.missed changes may have passed unseen
 */
export async function watchRooms(
  registry: Registry,
  listener: { changed(room: string, change: RoomNotice): void; missed(): void },
  log: Logger,
): Promise<Stoppable> {
  const prefix = registry.keys.rooms()
  let loaded = false
  return mirror(
    registry.etcd,
    prefix,
    {
      reading: atOnce(() => {
        // What is there at our own start, our sessions will have learned of as they open.
        if (loaded) listener.missed()
        loaded = true
      }),
      put(key, { value }) {
        const change = parseChange(value)
        if (change) listener.changed(key.slice(prefix.length), change)
        else log.warn({ key }, 'a change of a room cannot be read and is ignored')
      },
      delete() {},
    },
    log,
  )
}

function parseChange(value: string): RoomNotice | undefined {
  try {
    const { version, joined, left, ended } = JSON.parse(value) as Partial<RoomNotice>
    if (typeof version !== 'number' || !Array.isArray(joined) || !Array.isArray(left)) return undefined
    return { version, joined, left, ...(ended && { ended }) }
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}
