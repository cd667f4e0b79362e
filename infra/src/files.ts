/** Small files that must be whole or absent, whatever is killed while they are written. */
import { closeSync, fsyncSync, openSync, readFileSync, readSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { codeOf, Failure } from './failure.js'

/** Writes JSON beside the file and renames it into place. */
export function writeJson(path: string, value: unknown, mode = 0o600): void {
  const draft = `${path}.${process.pid}.new`
  const file = openSync(draft, 'w', mode)
  try {
    // On a disk that is nearly full a single write may take a part of it.
    writeFileSync(file, `${JSON.stringify(value, null, 2)}\n`)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
  renameSync(draft, path)
}

/** Reads JSON; nothing when there is no such file. A file that is not JSON is the operator's to look at. */
export function readJson(path: string): unknown {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    // A path below a file holds nothing either.
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return undefined
    throw error
  }
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new Failure(`${path} is damaged (it is not JSON): move it away and run the command again.`, { cause })
  }
}

/** The last lines of a text file from an offset on, at most 16 KiB of them. */
export function tail(path: string, lines: number, from = 0): string[] {
  const size = sizeOf(path)
  const start = Math.max(from, size - 16_384)
  if (size <= start) return []
  const file = openSync(path, 'r')
  try {
    const buffer = Buffer.alloc(size - start)
    const read = readSync(file, buffer, 0, buffer.length, start)
    return buffer
      .toString('utf8', 0, read)
      .split('\n')
      .filter((line) => line.trim() !== '')
      .slice(-lines)
  } finally {
    closeSync(file)
  }
}

/** The size of a file; 0 when there is none. */
export function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0
}
