/** One runner per data folder. */
import { linkSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { asRecord, type DataFolder } from './data.js'
import { codeOf, Failure } from './failure.js'
import { type Identity, identify, isRunning } from './process.js'

/** Takes the folder for this process. The lock of a runner that has died is taken over. @returns gives it back */
export function takeLock(data: DataFolder): () => void {
  const draft = `${data.lock}.${process.pid}`
  writeFileSync(draft, JSON.stringify(identify(process.pid)), { mode: 0o600 })
  try {
    for (let attempt = 0; attempt < 5; attempt++) {
      const holder = holderOf(data)
      if (holder) {
        throw new Failure(
          `Tidings runs already in ${data.path} (pid ${holder.pid}): stop it with "npm run stop", or set TIDINGS_DATA_DIR to another folder for a second instance.`,
        )
      }
      try {
        // A link appears with its content, or not at all.
        linkSync(draft, data.lock)
        return () => rmSync(data.lock, { force: true })
      } catch (error) {
        if (codeOf(error) !== 'EEXIST') throw error
        if (!holderOf(data)) rmSync(data.lock, { force: true })
      }
    }
    throw new Failure(`${data.lock} changes hands all the time: run the command again.`)
  } finally {
    rmSync(draft, { force: true })
  }
}

/** The runner that holds the folder now, if it runs. */
export function holderOf(data: DataFolder): Identity | undefined {
  let text: string
  try {
    text = readFileSync(data.lock, 'utf8')
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return undefined
    throw error
  }
  try {
    const { pid, start } = asRecord(JSON.parse(text))
    if (typeof pid !== 'number' || typeof start !== 'string') return undefined
    return isRunning({ pid, start }) ? { pid, start } : undefined
  } catch (error) {
    // Not written by us, so nobody's lock.
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}
