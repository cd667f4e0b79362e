/** Folders the stores' account can use. */
import { chownSync, lstatSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Account } from './account.js'
import { Failure } from './failure.js'

/** Gives a file or folder to the account, when there is one to give it to. */
export function ownedBy(path: string, account: Account | undefined): void {
  if (account) chownSync(path, account.uid, account.gid)
}

/** The system's limit for the path of a unix socket, less a little: about a hundred bytes, which a checkout easily passes. */
const SOCKET_PATH_BYTES = 100

/** Where a store's unix socket goes: into its own folder, or, where that path is too long, into a short one of the account. */
export function socketPath(folder: string, port: number, account: Account | undefined): string {
  const path = join(folder, 'mysql.sock')
  return Buffer.byteLength(path) <= SOCKET_PATH_BYTES ? path : join(shortFolder(account), `${port}.sock`)
}

function shortFolder(account: Account | undefined): string {
  const uid = account?.uid ?? process.getuid?.() ?? 0
  const folder = join('/tmp', `tidings-${uid}`)
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const made = lstatSync(folder)
  if (!made.isDirectory()) throw new Failure(`${folder} is not a folder: remove it.`)
  if (made.uid !== uid) {
    // Just made by us as root: hand it over. Made by another user: it would see our sockets.
    if (made.uid !== process.getuid?.()) throw new Failure(`${folder} belongs to someone else: remove it.`)
    ownedBy(folder, account)
  }
  return folder
}
