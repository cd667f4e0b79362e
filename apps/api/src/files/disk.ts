/**
 * Files on a disk of this machine, or on one that several share. A file is written beside its place, flushed, and put there in one step, in
 * one of 4,096 folders by its id. Folders are made when they are needed.
 */
import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { AppError } from '@tidings/protocol'
import type { Blobs } from './blobs.js'

const CHUNK = 256 * 1024

/** @param folder made at the first upload */
export function diskBlobs(folder: string): Blobs {
  const placeOf = (id: string): string => join(folder, id.slice(0, 2), id)
  const partOf = (id: string): string => `${placeOf(id)}.part`

  return {
    async put(id, bytes) {
      const place = placeOf(id)
      const part = partOf(id)
      const file = await orAway(create(part))
      try {
        await writeAll(file, bytes)
        await orAway(file.sync())
        await file.close()
        await orAway(rename(part, place))
        await orAway(flushFolder(dirname(place)))
      } catch (error) {
        // Closing it twice is no error.
        await file.close()
        await rm(part, { force: true })
        await rm(place, { force: true })
        throw error
      }
    },
    async get(id, range) {
      const file = await orAway(open(placeOf(id), 'r'))
      return file.createReadStream({ highWaterMark: CHUNK, ...(range && { start: range.first, end: range.last }) })
    },
    async delete(id) {
      await orAway(Promise.all([rm(partOf(id), { force: true }), rm(placeOf(id), { force: true })]))
    },
  }
}

async function create(path: string): Promise<FileHandle> {
  const made = await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  if (made !== undefined) await flushFolder(dirname(made))
  return open(path, 'wx', 0o600)
}

async function writeAll(file: FileHandle, bytes: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const chunk of bytes) await orAway(file.writeFile(chunk))
}

/** A file that was put in its place is found there after a crash only when the folder is flushed, too. */
async function flushFolder(path: string): Promise<void> {
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

/** What the disk refuses may be as the sender wants it later. */
async function orAway<T>(done: Promise<T>): Promise<T> {
  try {
    return await done
  } catch (cause) {
    throw new AppError('unavailable', 'The store for files cannot be used now. Try again shortly.', {
      cause,
      retryAfter: 5,
    })
  }
}
