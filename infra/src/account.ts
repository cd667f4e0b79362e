/** The account the stores run under: ours, or, when we are root, one without rights. */
import { execFileSync, spawnSync } from 'node:child_process'

/** A user of the system. */
export interface Account {
  name: string
  uid: number
  gid: number
}

/**
 * Whom to run the stores as. MariaDB refuses to be root, and none of the three needs to be.
 * Nothing: as ourselves (an ordinary user, or a root that may not change its user, as in some sandboxes).
 */
export function storeAccount(): Account | undefined {
  if (process.getuid?.() !== 0) return undefined
  for (const name of ['mysql', 'nobody']) {
    const account = lookUp(name)
    if (account && spawnSync('true', { uid: account.uid, gid: account.gid }).error === undefined) return account
  }
  return undefined
}

function lookUp(name: string): Account | undefined {
  try {
    const id = (flag: string): number =>
      Number(execFileSync('id', [flag, name], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }))
    return { name, uid: id('-u'), gid: id('-g') }
  } catch {
    // id exits with 1 for a user that does not exist: the next one is tried.
    return undefined
  }
}

/** Can this account enter the folder? Asked of the system, since modes alone do not tell. */
export function canReach(account: Account, folder: string): boolean {
  return spawnSync('test', ['-x', folder], { uid: account.uid, gid: account.gid }).status === 0
}
