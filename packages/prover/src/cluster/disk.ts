/** A file system of its own for a store, which can be full. In memory, and only for those who may mount one. */
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, statfsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const SIZE = 2 * 1024 ** 3
/** What is written between the look and the change makes the change fail. */
const TRIES = 20

export interface Disk {
  /** For the store: its data lie on the disk, its log beside it. */
  readonly dir: string
  /** From now on not a byte more fits. @returns the bytes that are there */
  fill(): Promise<number>
  free(): void
  remove(): void
}

const mount = (...args: string[]): unknown => execFileSync('mount', args, { stdio: 'pipe' })

/** May this process mount a file system? Asked of the system: root alone does not tell. */
export function canMount(): boolean {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return false
  try {
    mountDisk('probe').remove()
    return true
  } catch {
    // A sandbox that does not let its root do that.
    return false
  }
}

/** @param store its name, as that of the folder it keeps its data in */
export function mountDisk(store: string): Disk {
  const dir = mkdtempSync(join(tmpdir(), 'tidings-disk-'))
  // The stores' account has to pass through it.
  chmodSync(dir, 0o755)
  const folder = join(dir, store)
  mkdirSync(folder)
  let there = false
  const remove = (): void => {
    process.off('exit', remove)
    // Lazily: at an exit the store may still be on its way out.
    if (there) execFileSync('umount', ['--lazy', folder], { stdio: 'pipe' })
    there = false
    rmSync(dir, { recursive: true, force: true })
  }
  const resize = (bytes: number): unknown => mount('-o', `remount,size=${bytes}`, folder)
  try {
    mount('-t', 'tmpfs', '-o', `size=${SIZE},mode=755`, 'tidings', folder)
    there = true
    process.on('exit', remove)
  } catch (error) {
    remove()
    throw error
  }
  return {
    dir,
    async fill() {
      for (let tries = 1; ; tries++) {
        const { bsize, blocks, bfree } = statfsSync(folder)
        try {
          resize((blocks - bfree) * bsize)
          return (blocks - bfree) * bsize
        } catch (error) {
          if (tries === TRIES) throw error
          await sleep(10)
        }
      }
    },
    free: () => void resize(SIZE),
    remove,
  }
}
