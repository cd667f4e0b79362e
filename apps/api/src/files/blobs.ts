/** Where the bytes of files lie. The local disk is one; another one has only to keep these promises. */
import type { Readable } from 'node:stream'

/** Bytes of a file, both ends included. */
export interface ByteRange {
  first: number
  last: number
}

export interface Blobs {
  /**
   * Stores bytes under a new id. When it resolves they outlast a crash; when it rejects, with whatever `bytes` threw too, nothing of them is
   * left and nothing was ever shown.
   * @throws AppError `unavailable` when they cannot be kept now
   */
  put(id: string, bytes: AsyncIterable<Uint8Array>): Promise<void>
  /** Opened before it resolves: what is deleted afterwards can still be read to its end. @throws AppError `unavailable` */
  get(id: string, range?: ByteRange): Promise<Readable>
  /** Also what a process that died has left of an upload. What is not there is no error. @throws AppError `unavailable` */
  delete(id: string): Promise<void>
}
