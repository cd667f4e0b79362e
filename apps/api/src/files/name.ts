/** The name of an uploaded file: what its sender's machine calls it, made harmless. */

const MAX_NAME = 255
/** As in message contents; here it is taken out, there refused. */
const NOT_IN_NAMES = /[\p{Cc}\p{Cs}\u2028\u2029\u202A-\u202E\u2066-\u2069]/gu
const UNNAMED = 'file'

/** A header holds ASCII: other characters come percent-encoded, as encodeURIComponent writes them. */
export function fromHeader(value: string | undefined): string | undefined {
  if (value === undefined) return undefined
  try {
    return decodeURIComponent(value)
  } catch {
    return value
  }
}

/** Without folders, control characters and what is too long. */
export function safeName(given: string | undefined): string {
  const last = (given ?? '').replace(NOT_IN_NAMES, '').split(/[/\\]/).at(-1)!.trim()
  const name = [...last].slice(0, MAX_NAME).join('')
  return name === '' || name === '.' || name === '..' ? UNNAMED : name
}
