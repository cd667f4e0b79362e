/** Looks at the bytes of an upload as they pass: how many, which digest, what they are. */
import { createHash } from 'node:crypto'
import { AppError } from '@tidings/protocol'
import { type ImageSize, imageSize } from './image-size.js'
import { decideType, requireAllowed, sniffedType } from './media-type.js'

/** Enough for containers whose kind stands behind their table of contents, and for the size of most photos. */
const HEAD = 64 * 1024

export interface Expected {
  /** What the sender says it is. */
  declared: string | undefined
  maxBytes: number
  allowed: readonly string[]
}

export interface Inspected {
  size: number
  sha256: string
  mediaType: string
  sides: ImageSize | undefined
}

export interface Inspection {
  /** The same bytes; throws AppError `file_too_large`, `media_type_mismatch`, `unsupported_media_type`, as soon as it is known. */
  bytes: AsyncIterable<Uint8Array>
  /** When all have passed. @throws AppError `invalid_request` when there were none */
  result(): Inspected
}

export const tooLarge = (maxBytes: number): AppError =>
  new AppError('file_too_large', `A file has at most ${maxBytes} bytes.`, { details: { maxBytes } })

/** @param source not destroyed when it is left early: the answer goes over the same socket */
export function inspect(source: AsyncIterable<Uint8Array>, { declared, maxBytes, allowed }: Expected): Inspection {
  const hash = createHash('sha256')
  const first: Uint8Array[] = []
  let size = 0
  let found: Pick<Inspected, 'mediaType' | 'sides'> | undefined

  async function look(): Promise<void> {
    const head = Buffer.concat(first)
    const mediaType = decideType(declared, await sniffedType(head))
    requireAllowed(mediaType, allowed)
    found = { mediaType, sides: imageSize(mediaType, head) }
    first.length = 0
  }

  async function* pass(): AsyncGenerator<Uint8Array> {
    for await (const chunk of source) {
      size += chunk.length
      if (size > maxBytes) throw tooLarge(maxBytes)
      hash.update(chunk)
      if (!found) {
        first.push(chunk)
        if (size >= HEAD) await look()
      }
      yield chunk
    }
    if (!found) await look()
  }

  return {
    bytes: pass(),
    result() {
      if (size === 0 || !found) throw new AppError('invalid_request', 'The file is empty.')
      return { size, sha256: hash.digest('hex'), ...found }
    },
  }
}
