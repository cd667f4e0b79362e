/** Exact points in the compiled code where a process dies, or forgets, once: when a file of that name is there. */
import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { within } from '../until.js'

const fs = `process.getBuiltinModule('node:fs')`
const pathOf = (folder: string, name: string): string => join(folder, `${name}.armed`)

/**
 * Text of a statement that kills its process, the first that comes by after arming.
 * @param conversations an expression: only where they are those that it was armed for
 */
export function dieHere(folder: string, name: string, conversations?: string): string {
  const path = JSON.stringify(pathOf(folder, name))
  const meant = conversations === undefined ? 'true' : `${conversations}.includes(${fs}.readFileSync(${path}, 'utf8'))`
  return `try { if (${meant}) { ${fs}.unlinkSync(${path}); process.kill(process.pid, 'SIGKILL'); } } catch (error) { if (error.code !== 'ENOENT') throw error; }`
}

/** Text of an expression that is true once, for this conversation. @param conversation an expression */
export function onceFor(folder: string, name: string, conversation: string): string {
  const path = JSON.stringify(pathOf(folder, name))
  return `(() => { try { if (${fs}.readFileSync(${path}, 'utf8') !== ${conversation}) return false; ${fs}.unlinkSync(${path}); return true; } catch (error) { if (error.code !== 'ENOENT') throw error; return false; } })()`
}

export const arm = (folder: string, name: string, about = ''): void => writeFileSync(pathOf(folder, name), about)

/** @returns whether somebody came by in time; if not, it is asleep again */
export async function taken(folder: string, name: string, withinMs: number): Promise<boolean> {
  const gone = await within(() => !existsSync(pathOf(folder, name)), withinMs)
  rmSync(pathOf(folder, name), { force: true })
  return gone
}
