/** How large an image is, from its first bytes: PNG, GIF, WebP and JPEG. Pure. */

export interface ImageSize {
  width: number
  height: number
}

/** Markers of a JPEG frame that tell the size: all SOFn; C4, C8 and CC are something else. */
const isFrame = (marker: number): boolean =>
  marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc
/** Markers without a length. */
const isBare = (marker: number): boolean => (marker >= 0xd0 && marker <= 0xd8) || marker === 0x01

const sized = (width: number, height: number): ImageSize | undefined =>
  width > 0 && height > 0 ? { width, height } : undefined

/** @param head the first bytes of a file; more of them for JPEG, whose size may stand behind a thumbnail */
export function imageSize(mediaType: string, head: Buffer): ImageSize | undefined {
  switch (mediaType) {
    case 'image/png':
    case 'image/apng':
      return head.length < 24 ? undefined : sized(head.readUInt32BE(16), head.readUInt32BE(20))
    case 'image/gif':
      return head.length < 10 ? undefined : sized(head.readUInt16LE(6), head.readUInt16LE(8))
    case 'image/webp':
      return head.length < 30 ? undefined : webp(head)
    case 'image/jpeg':
      return jpeg(head)
    default:
      return undefined
  }
}

function webp(head: Buffer): ImageSize | undefined {
  const kind = head.toString('latin1', 12, 16)
  if (kind === 'VP8 ') return sized(head.readUInt16LE(26) & 0x3fff, head.readUInt16LE(28) & 0x3fff)
  if (kind === 'VP8L') {
    const bits = head.readUInt32LE(21)
    return sized((bits & 0x3fff) + 1, ((bits >>> 14) & 0x3fff) + 1)
  }
  return kind === 'VP8X' ? sized(head.readUIntLE(24, 3) + 1, head.readUIntLE(27, 3) + 1) : undefined
}

function jpeg(head: Buffer): ImageSize | undefined {
  for (let at = 2; at + 9 < head.length && head[at] === 0xff; ) {
    const marker = head[at + 1]!
    if (marker === 0xff) at++
    else if (isBare(marker)) at += 2
    else if (isFrame(marker)) return sized(head.readUInt16BE(at + 7), head.readUInt16BE(at + 5))
    else at += 2 + head.readUInt16BE(at + 2)
  }
  return undefined
}
