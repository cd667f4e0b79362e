/** The data folder of an instance: what lies where, made and checked before anything is started. */
import { createHash, randomBytes } from 'node:crypto'
import { accessSync, chmodSync, constants, existsSync, lstatSync, mkdirSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { type Account, canReach, storeAccount } from './account.js'
import { checkout } from './checkout.js'
import { codeOf, Failure, reasonOf } from './failure.js'
import { readJson, writeJson } from './files.js'

/** The paths of one instance. */
export interface DataFolder {
  path: string
  logs: string
  /** What runs: see state.ts. */
  state: string
  /** Held by the one runner of this folder: see lock.ts. */
  lock: string
  ports: string
  secrets: string
  demo: string
  facts: string
  dev: string
  /** What people upload. */
  files: string
}

/** Names the paths; touches nothing. @param setting TIDINGS_DATA_DIR, relative to the checkout */
export function dataFolder(setting: string): DataFolder {
  const path = resolve(checkout, setting)
  const at = (name: string): string => join(path, name)
  return {
    path,
    logs: at('logs'),
    state: at('state.json'),
    lock: at('lock.json'),
    ports: at('ports.json'),
    secrets: at('secrets.json'),
    demo: at('demo.json'),
    facts: at('instance.json'),
    dev: at('dev.json'),
    files: at('files'),
  }
}

/** Makes the folder, or says in one sentence why it cannot be used. */
export function prepareData(data: DataFolder): void {
  const change = 'or set TIDINGS_DATA_DIR to another folder'
  try {
    mkdirSync(data.path, { recursive: true, mode: 0o755 })
    if (!statSync(data.path).isDirectory())
      throw new Failure(`The data folder ${data.path} is a file: move it away, ${change}.`)
    accessSync(data.path, constants.W_OK | constants.X_OK)
    mkdirSync(data.logs, { recursive: true, mode: 0o700 })
    accessSync(data.logs, constants.W_OK | constants.X_OK)
  } catch (error) {
    if (error instanceof Failure) throw error
    const code = codeOf(error)
    if (code === 'EEXIST' || code === 'ENOTDIR') {
      throw new Failure(`The data folder ${data.path} is, or lies below, a file: move it away, ${change}.`, {
        cause: error,
      })
    }
    if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') {
      throw new Failure(`The data folder ${data.path} is not writable for this user: change its owner, ${change}.`, {
        cause: error,
      })
    }
    if (code === 'ENOSPC')
      throw new Failure(`The disk of ${data.path} is full: free some space, ${change}.`, { cause: error })
    throw new Failure(`The data folder ${data.path} cannot be used (${reasonOf(error)}): repair it, ${change}.`, {
      cause: error,
    })
  }
}

/** Where the stores keep their data, and who they are. */
export interface StoreHome {
  folder: string
  account: Account | undefined
}

/**
 * The stores' data lie in the data folder, except where their account cannot reach it (root's home, usually): then in a
 * folder of the system named after it. That one is kept over a restart of the machine, so the temp folder is the last choice.
 */
export function storeHome(data: DataFolder): StoreHome {
  const account = storeAccount()
  if (!account || canReach(account, data.path)) return { folder: data.path, account }
  const name = `tidings-${createHash('sha256').update(data.path).digest('hex').slice(0, 12)}`
  const folder = join(existsSync('/var/lib') ? '/var/lib' : tmpdir(), name)
  mkdirSync(folder, { recursive: true, mode: 0o755 })
  chmodSync(folder, 0o755)
  const found = lstatSync(folder)
  if (!found.isDirectory() || found.uid !== process.getuid?.()) {
    throw new Failure(`${folder} belongs to someone else: remove it, or set TIDINGS_DATA_DIR to another folder.`)
  }
  return { folder, account }
}

/** What only this instance knows. */
export interface Secrets {
  jwt: string
  mysql: string
  /** Of the key `local`, which signs the calls of operators. */
  admin: string
  /** A P-256 private key (RFC 8292), by which push services know this instance. Nearly every number of 32 bytes is one. */
  vapid: string
}

/** Reads the secrets; makes them at the first start. Never printed, readable for their owner alone. */
export function secretsOf(data: DataFolder): Secrets {
  const known = asRecord(readJson(data.secrets))
  const secret = (name: keyof Secrets, bytes: number): string => {
    const before = known[name]
    return typeof before === 'string' ? before : randomBytes(bytes).toString('base64url')
  }
  const secrets: Secrets = {
    jwt: secret('jwt', 32),
    mysql: secret('mysql', 24),
    admin: secret('admin', 32),
    vapid: secret('vapid', 32),
  }
  const isNew = Object.entries(secrets).some(([name, value]) => known[name] !== value)
  if (isNew) writeJson(data.secrets, { ...known, ...secrets })
  else if ((statSync(data.secrets).mode & 0o077) !== 0) chmodSync(data.secrets, 0o600)
  return secrets
}

/**
 * Partitions are fixed for a data set: a conversation's entries lie in the one its name hashes to, so another number would
 * look for them elsewhere. The first start notes the number; a start with another one is refused.
 * @param dataSet what tells one data set of this folder from another: the Redis it lies in and the namespace
 * @returns the sentence to refuse with, or nothing
 */
export function partitionsRefusal(data: DataFolder, dataSet: string, partitions: number): string | undefined {
  const before = asRecord(asRecord(readJson(data.facts)).partitions)[dataSet]
  if (before === undefined || before === partitions) return undefined
  return `TIDINGS_PARTITIONS="${partitions}" cannot be used: the data in ${data.path} were written with ${before}; set it to ${before}, or start with an empty TIDINGS_DATA_DIR.`
}

/** Notes the number of partitions of a data set. */
export function notePartitions(data: DataFolder, dataSet: string, partitions: number): void {
  const facts = asRecord(readJson(data.facts))
  writeJson(data.facts, { ...facts, partitions: { ...asRecord(facts.partitions), [dataSet]: partitions } })
}

/** Names a data set without giving away the password that reaches it. */
export function dataSetName(redisUrl: string | undefined, namespace: string): string {
  if (!redisUrl) return `own/${namespace}`
  // Not of the shape of a plain URL: several hosts, with the password before them.
  const several = /^rediss?\+(?:sentinel|cluster):\/\/(?:[^@/]*@)?(.*)$/.exec(redisUrl)
  if (several) return `${several[1]}/${namespace}`
  const { host, pathname } = new URL(redisUrl)
  return `${host}${pathname.replace(/^\/0?$/, '')}/${namespace}`
}

/** An object read from a file; anything else counts as empty. */
export function asRecord(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {}
}
