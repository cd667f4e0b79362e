/** One upload, from its first byte to its row: what is not wholly there leaves nothing behind. */
import { randomBytes } from 'node:crypto'
import { AppError, type logicRpc } from '@tidings/protocol'
import type { Logger } from '@tidings/service'
import type { LogicCalls } from '../api.js'
import type { Blobs } from './blobs.js'
import { type Expected, inspect } from './inspect.js'

export interface ReceiveDeps {
  logic: Pick<LogicCalls, 'beginFile' | 'storeFile' | 'dropFile'>
  blobs: Blobs
  log: Logger
}

export interface Upload {
  owner: string
  name: string
  bytes: AsyncIterable<Uint8Array>
  /** How many there are at most. */
  reserve: number
  expected: Expected
  /** Reads what follows the file in its request, and rejects when that is wrong. */
  end?: () => Promise<void>
}

/**
 * @throws AppError `file_too_large`, `media_type_mismatch`, `unsupported_media_type`, `file_quota_exceeded`, `invalid_request` when it was
 * cut or is empty, `unavailable`: then perhaps it is stored, and goes after a while, for nothing refers to it
 */
export async function receive(deps: ReceiveDeps, upload: Upload): Promise<logicRpc.StoredFile> {
  const { logic, blobs } = deps
  const { owner: user, name, bytes, reserve, expected, end } = upload
  const id = randomBytes(16).toString('base64url')
  await logic.beginFile({ user, id, name, size: reserve })
  let stored: logicRpc.StoreFileRequest
  try {
    const inspection = inspect(fromClient(bytes), expected)
    await blobs.put(id, inspection.bytes)
    await end?.()
    const { size, sha256, mediaType, sides } = inspection.result()
    stored = { user, id, mediaType, size, sha256, width: sides?.width ?? 0, height: sides?.height ?? 0 }
  } catch (error) {
    await discard(deps, user, id)
    throw error
  }
  const { file } = await logic.storeFile(stored)
  return file!
}

/** Whoever is gone is told nothing; what is ill-formed is the client's fault. */
async function* fromClient(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield* bytes
  } catch (cause) {
    throw cause instanceof AppError ? cause : new AppError('invalid_request', 'The upload was cut.', { cause })
  }
}

/** The bytes first: as long as the row is there, a sweep finds what is left. */
async function discard({ logic, blobs, log }: ReceiveDeps, user: string, id: string): Promise<void> {
  try {
    await blobs.delete(id)
    await logic.dropFile({ user, id })
  } catch (err) {
    log.debug({ err, file: id }, 'an upload that failed is left to the sweep')
  }
}
