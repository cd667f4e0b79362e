/** What a file is: what its bytes say, before what its sender says. */
import { AppError, MEDIA_TYPE } from '@tidings/protocol'
import { fileTypeFromBuffer } from 'file-type'

const UNKNOWN = 'application/octet-stream'
/** Drawn from text, which bytes alone do not give away. */
const SVG = 'image/svg+xml'

/** What browsers may show in the page's place: nothing that could run. */
const SHOWN = new Set([
  ...['image/png', 'image/apng', 'image/jpeg', 'image/gif', 'image/webp', 'image/avif', 'image/bmp'],
  ...['video/mp4', 'video/webm', 'video/ogg', 'video/quicktime'],
  ...[
    'audio/mpeg',
    'audio/mp4',
    'audio/x-m4a',
    'audio/aac',
    'audio/ogg',
    'audio/opus',
    'audio/wav',
    'audio/webm',
    'audio/flac',
  ],
  'text/plain',
])

/** A Content-Type without its parameters. @returns undefined for none, or one that says nothing */
export function declaredType(header: string | undefined): string | undefined {
  const [type = ''] = (header ?? '')
    .toLowerCase()
    .split(';', 1)
    .map((part) => part.trim())
  return MEDIA_TYPE.test(type) && type !== UNKNOWN ? type : undefined
}

/** What is known by looking. Some are told more exactly than anybody says them: their parameters are left out. */
export async function sniffedType(head: Uint8Array): Promise<string | undefined> {
  const found = await fileTypeFromBuffer(head)
  return found && declaredType(found.mime)
}

/**
 * @returns the type that counts
 * @throws AppError `media_type_mismatch` for what is said to be an image, and is none
 */
export function decideType(declared: string | undefined, sniffed: string | undefined): string {
  if (declared?.startsWith('image/') && !sniffed?.startsWith('image/')) {
    if (declared === SVG && (sniffed === undefined || sniffed === 'application/xml')) return SVG
    throw new AppError(
      'media_type_mismatch',
      `It is said to be ${declared}, and its bytes are ${sniffed ? `those of ${sniffed}` : 'not those of an image'}.`,
    )
  }
  return sniffed ?? declared ?? UNKNOWN
}

/** @param patterns with * for all of a part @throws AppError `unsupported_media_type` */
export function requireAllowed(type: string, patterns: readonly string[]): void {
  const [top, sub] = type.split('/')
  const matches = (pattern: string): boolean => {
    const [wantedTop, wantedSub] = pattern.split('/')
    return (wantedTop === '*' || wantedTop === top) && (wantedSub === '*' || wantedSub === sub)
  }
  if (patterns.some(matches)) return
  throw new AppError('unsupported_media_type', `Files of the type ${type} are not taken here.`, {
    details: { allowed: patterns },
  })
}

/** A Content-Disposition (RFC 6266): everything that could run is only for saving. */
export function dispositionOf(mediaType: string, name: string): string {
  const plain = name.replace(/[^ -~]|["\\%]/g, '_')
  const exact = encodeURIComponent(name).replace(/['()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
  return `${SHOWN.has(mediaType) ? 'inline' : 'attachment'}; filename="${plain}"; filename*=UTF-8''${exact}`
}
