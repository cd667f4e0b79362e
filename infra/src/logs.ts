/** Keeps the log files of long runs bounded. */
import { copyFileSync, readdirSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { codeOf } from './failure.js'
import { sizeOf } from './files.js'

const LOG_BYTES = 32 * 1024 * 1024
const LOOK_MS = 60_000

/** Looks at the logs now and then: one that has grown too long is copied to `<name>.1` and emptied. @returns ends it */
export function rotateLogs(folder: string): () => void {
  const look = (): void =>
    attempt(folder, () => {
      for (const name of readdirSync(folder).filter((file) => file.endsWith('.log'))) {
        const path = join(folder, name)
        attempt(path, () => rotate(path))
      }
    })
  look()
  const timer = setInterval(look, LOOK_MS).unref()
  return () => clearInterval(timer)
}

function rotate(path: string): void {
  if (sizeOf(path) < LOG_BYTES) return
  // The writer keeps its file open in append mode: emptied in place, it goes on at the beginning.
  copyFileSync(path, `${path}.1`)
  truncateSync(path)
}

/** A full disk, or a folder that someone has removed: the log stays as it is, and the next look tries again. */
function attempt(path: string, step: () => void): void {
  try {
    step()
  } catch (error) {
    console.error(`tidings: ${path} could not be rotated (${codeOf(error) ?? String(error)})`)
  }
}
