/**
 * The stores' programs without root and without Docker: Debian packages, downloaded as any user and unpacked into a folder
 * of our own. Nothing is installed, so no service starts and no system user appears.
 */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { canReach, storeAccount } from './account.js'
import { codeOf, Failure, reasonOf } from './failure.js'
import { identify, isRunning } from './process.js'
import { findPrograms, type Programs, STORES, type StoreName } from './programs.js'

const run = promisify(execFile)

/** redis-tools holds the server's program under another name; mariadb-server-core holds no service. */
const PACKAGES: Record<StoreName, readonly string[]> = {
  redis: ['redis-tools'],
  mysql: ['mariadb-server-core', 'mariadb-client-core'],
  etcd: ['etcd-server', 'etcd-client'],
}
const INSTALL_BY_HAND =
  process.platform === 'darwin'
    ? 'install them with "brew install redis mariadb etcd"'
    : 'install Redis 7, MariaDB 10.11 or newer and etcd 3.4 or newer so that redis-server, mariadbd and etcd are on the PATH'
const OR_GIVE_URLS = 'or set TIDINGS_REDIS_URL, TIDINGS_MYSQL_URL and TIDINGS_ETCD_URL to servers of your own'

/**
 * The folder of the unpacked packages, shared by all instances of this checkout.
 * @throws Failure when it cannot be made
 */
export function packagesFolder(root: string): string {
  const parent = join(root, '.tidings')
  const folder = join(parent, 'pkgs')
  const account = storeAccount()
  makeFolder(parent)
  if (!account || canReach(account, parent)) return folder
  // A checkout below a folder that only root may enter: the stores' account could not run what is unpacked there.
  const name = `tidings-pkgs-${createHash('sha256').update(resolve(root)).digest('hex').slice(0, 12)}`
  return ownFolder(existsSync('/var/lib') ? '/var/lib' : tmpdir(), name)
}

/** A folder below one that others may write to: refused when someone else made it first. */
function ownFolder(parent: string, name: string): string {
  const folder = join(parent, name)
  makeFolder(folder)
  const found = lstatSync(folder)
  if (!found.isDirectory() || found.uid !== process.getuid?.())
    throw new Failure(`${folder} belongs to someone else: remove it.`)
  // The mode of a new folder is cut by the umask, and the stores' account must get in.
  chmodSync(folder, 0o755)
  return join(folder, 'pkgs')
}

function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true })
  } catch (cause) {
    const why =
      codeOf(cause) === 'EEXIST' || codeOf(cause) === 'ENOTDIR'
        ? 'it is, or lies below, a file: move it away'
        : `${reasonOf(cause)}: make the folder above it writable for this user`
    throw new Failure(`${folder}, for the programs of the stores, cannot be made: ${why}.`, { cause })
  }
}

/**
 * The programs of the three stores; fetches what this machine lacks.
 * @param say told about each long step
 * @param wanted which stores; all by default
 */
export async function findBinaries(
  root: string,
  say: (line: string) => void,
  wanted: readonly StoreName[] = STORES,
): Promise<Programs> {
  const pkgs = packagesFolder(root)
  const missing = (): StoreName[] => {
    const found = findPrograms(pkgs)
    return wanted.filter((store) => !found[store])
  }
  if (missing().length > 0) {
    await withLock(`${pkgs}.lock`, say, async () => {
      tidyUp(pkgs)
      // Someone else may have fetched them while we waited for the lock.
      const stores = missing()
      if (stores.length > 0) await fetchPackages(pkgs, stores, say)
    })
    const still = missing()
    if (still.length > 0)
      throw new Failure(`The packages hold no program for ${still.join(', ')}: ${INSTALL_BY_HAND}, ${OR_GIVE_URLS}.`)
  }
  return findPrograms(pkgs) as Programs
}

/** Could the missing programs be fetched here? A reason when not. Touches no network. */
export function cannotFetch(): string | undefined {
  const path = (process.env.PATH ?? '').split(':')
  for (const tool of ['apt-get', 'dpkg-deb']) {
    if (!path.some((place) => existsSync(join(place, tool))))
      return `${tool} is not on this machine: ${INSTALL_BY_HAND}, ${OR_GIVE_URLS}`
  }
  return undefined
}

async function fetchPackages(pkgs: string, stores: readonly StoreName[], say: (line: string) => void): Promise<void> {
  const reason = cannotFetch()
  if (reason) throw new Failure(`${capitalised(names(stores))} cannot be found, and ${reason}.`)
  const draft = `${pkgs}.${process.pid}.new`
  const apt = join(draft, '.apt')
  try {
    mkdirSync(join(apt, 'lists/partial'), { recursive: true })
    mkdirSync(join(apt, 'cache/archives/partial'), { recursive: true })
    mkdirSync(join(apt, 'debs'))
    // Lists and cache of our own: needs no root, and the machine's own may be stale or locked.
    const options = [
      `Dir::State::lists=${apt}/lists`,
      `Dir::Cache=${apt}/cache`,
      'APT::Sandbox::User=',
      'Acquire::Retries=2',
    ].flatMap((option) => ['-o', option])
    const aptGet = (...args: string[]) =>
      run('apt-get', [...options, '-q', ...args], {
        cwd: join(apt, 'debs'),
        env: { ...process.env, LC_ALL: 'C' },
        maxBuffer: 64 * 1024 * 1024,
      })

    say(`fetching ${names(stores)}: reading the package lists`)
    await aptGet('update').catch((error: unknown) => {
      // One dead source among several is common: what matters is whether the packages can be found, and that is asked next.
      say(`apt-get update: ${lastLine(error)}`)
    })
    // Packages fetched before stay: the new folder replaces the old one as a whole.
    const all = [...new Set([...stores, ...fetchedBefore(pkgs)])]
    const plan = await aptGet('-s', '--no-install-recommends', 'install', ...all.flatMap((store) => PACKAGES[store]))
    const needed = [...plan.stdout.matchAll(/^Inst (\S+)/gm)].map((match) => match[1]!)
    // What is installed already but useless as it is (redis-tools without the server's name) is fetched all the same.
    const wanted = [...new Set([...needed, ...all.flatMap((store) => PACKAGES[store])])]
    say(`fetching ${names(stores)}: ${wanted.length} packages`)
    await aptGet('download', ...wanted)
    const files = readdirSync(join(apt, 'debs')).filter((file) => file.endsWith('.deb'))
    say(`unpacking ${files.length} packages`)
    for (const file of files) await run('dpkg-deb', ['-x', join(apt, 'debs', file), draft])
    linkRedis(draft)
    rmSync(apt, { recursive: true, force: true })
    writeFileSync(join(draft, 'stores.json'), `${JSON.stringify({ stores: all, packages: files.sort() }, null, 2)}\n`)
    replace(pkgs, draft)
  } catch (error) {
    if (error instanceof Failure) throw error
    throw new Failure(
      `${capitalised(names(stores))} could not be fetched (${lastLine(error)}): check the network and run the command again, ${INSTALL_BY_HAND}, ${OR_GIVE_URLS}.`,
      { cause: error },
    )
  } finally {
    rmSync(draft, { recursive: true, force: true })
  }
}

/** The server and its checker are one program that looks at its own name. */
function linkRedis(draft: string): void {
  const server = join(draft, 'usr/bin/redis-server')
  if (!existsSync(server) && existsSync(join(draft, 'usr/bin/redis-check-rdb'))) symlinkSync('redis-check-rdb', server)
}

function fetchedBefore(pkgs: string): StoreName[] {
  const note = join(pkgs, 'stores.json')
  if (!existsSync(note)) return []
  const { stores } = JSON.parse(readFileSync(note, 'utf8')) as { stores?: unknown }
  return Array.isArray(stores) ? STORES.filter((store) => stores.includes(store)) : []
}

function replace(pkgs: string, draft: string): void {
  const old = `${pkgs}.${process.pid}.old`
  if (existsSync(pkgs)) renameSync(pkgs, old)
  renameSync(draft, pkgs)
  rmSync(old, { recursive: true, force: true })
}

/** What a fetch that was killed has left: the folder that it had moved aside is put back, its draft goes. Under the lock. */
export function tidyUp(pkgs: string): void {
  const folder = dirname(pkgs)
  const left = (ending: string): string[] =>
    readdirSync(folder)
      .filter((name) => name.startsWith(`${basename(pkgs)}.`) && name.endsWith(ending))
      .map((name) => join(folder, name))
  const [aside] = left('.old')
  if (aside !== undefined && !existsSync(pkgs)) renameSync(aside, pkgs)
  for (const path of [...left('.old'), ...left('.new')]) rmSync(path, { recursive: true, force: true })
}

/** Runs a step that only one process may do at a time; a lock whose holder has died is taken over. */
async function withLock(lock: string, say: (line: string) => void, step: () => Promise<void>): Promise<void> {
  const me = identify(process.pid)
  let waiting = false
  for (;;) {
    try {
      writeFileSync(lock, JSON.stringify(me), { flag: 'wx' })
      break
    } catch (error) {
      if (codeOf(error) !== 'EEXIST')
        throw new Failure(`${lock} cannot be written (${reasonOf(error)}): make the folder writable.`, { cause: error })
    }
    if (!holderRuns(lock)) {
      rmSync(lock, { force: true })
      continue
    }
    if (!waiting) say('another run is fetching the packages: waiting for it')
    waiting = true
    await sleep(200)
  }
  try {
    await step()
  } finally {
    rmSync(lock, { force: true })
  }
}

function holderRuns(lock: string): boolean {
  try {
    const holder = JSON.parse(readFileSync(lock, 'utf8')) as { pid?: unknown; start?: unknown }
    return (
      typeof holder.pid === 'number' &&
      typeof holder.start === 'string' &&
      isRunning({ pid: holder.pid, start: holder.start })
    )
  } catch (error) {
    // Just released (asked again at once), or just being written (a moment later it is whole).
    return codeOf(error) !== 'ENOENT' && Date.now() - (lstatSync(lock, { throwIfNoEntry: false })?.mtimeMs ?? 0) < 2_000
  }
}

const names = (stores: readonly StoreName[]): string =>
  stores.map((store) => ({ redis: 'Redis', mysql: 'MariaDB', etcd: 'etcd' })[store]).join(', ')
const capitalised = (text: string): string => text[0]!.toUpperCase() + text.slice(1)

function lastLine(error: unknown): string {
  const output = (error as { stderr?: unknown }).stderr
  const lines = (typeof output === 'string' && output.trim() !== '' ? output : reasonOf(error)).trim().split('\n')
  return (lines.findLast((line) => line.startsWith('E:')) ?? lines.at(-1) ?? '').replace(/^E: /, '')
}
