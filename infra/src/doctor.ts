/** `npm run doctor`: everything that could keep `npm start` from working, each with what to do about it. */
import { execFile, execFileSync } from 'node:child_process'
import {
  accessSync,
  constants,
  existsSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statfsSync,
  statSync,
} from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { ConfigError, type Settings } from '@tidings/service'
import { checkout } from './checkout.js'
import { asRecord, type DataFolder, dataFolder, dataSetName, partitionsRefusal, storeHome } from './data.js'
import { codeOf, Failure, reasonOf } from './failure.js'
import { readJson } from './files.js'
import { type Finding, lookAtEtcd, lookAtMysql } from './given.js'
import { lookAtRedis } from './given-redis.js'
import { holderOf } from './lock.js'
import { cannotFetch, packagesFolder } from './packages.js'
import { isFree, listenError } from './ports.js'
import { findPrograms, type Programs, STORES } from './programs.js'
import { checkHosts, portTaken, readSettings } from './settings.js'
import { readState, stillRunning } from './state.js'

const run = promisify(execFile)

/** Three stores with empty data take a quarter of this; the rest is for the first messages. */
const DISK_LEAST_BYTES = 1024 ** 3
/** A socket is a file: ten thousand devices need more than ten thousand. */
const FILES_GOOD = 10_000
const FILES_LEAST = 1_024

const ok = (text: string): Finding => ({ level: 'ok', text })
const warn = (text: string): Finding => ({ level: 'warn', text })
const fail = (text: string): Finding => ({ level: 'fail', text })

/** Prints one line for each check. @returns 1 when one of them failed */
export async function doctor(): Promise<number> {
  const findings = await examine()
  for (const { level, text } of findings) console.log(`${level.padEnd(4)}  ${text}`)
  return findings.some((finding) => finding.level === 'fail') ? 1 : 0
}

/** All checks, in the order a start would meet the faults. */
export async function examine(): Promise<Finding[]> {
  const machine = [ok(`Node.js ${process.versions.node}`), npm(), await sockets(), openFiles()]
  let config: Settings
  try {
    config = readSettings(process.env)
  } catch (error) {
    if (error instanceof ConfigError) return [...machine, fail(error.message)]
    throw error
  }
  const data = dataFolder(config.TIDINGS_DATA_DIR)
  return [
    ...machine,
    ok('settings'),
    ...folder(data),
    disk(data),
    ...remembered(data, config),
    ...programs(config),
    ...(await given(config)),
    ...(await ports(data, config)),
  ]
}

function npm(): Finding {
  try {
    return ok(`npm ${execFileSync('npm', ['--version'], { encoding: 'utf8' }).trim()}`)
  } catch {
    return fail('npm is not on the PATH: install it (it comes with Node.js).')
  }
}

/** In a process of its own: a native library that does not fit may end the process that loads it. */
async function sockets(): Promise<Finding> {
  const script =
    "const uws = require('uWebSockets.js'); if (!process.env.UWS_USE_FALLBACK && typeof uws.App === 'function' && Object.keys(require.cache).some((file) => file.endsWith('.node'))) console.log('native')"
  try {
    const { stdout } = await run(process.execPath, ['-e', script], {
      cwd: join(checkout, 'apps/connect'),
      timeout: 10_000,
    })
    if (stdout.includes('native')) return ok('uWebSockets.js loads its native build')
  } catch (error) {
    return warn(
      `uWebSockets.js does not load (${reasonOf(error).split('\n')[0]}): WebSockets will be served by ws, which is slower; Node.js 20 on Linux has a native build.`,
    )
  }
  return warn(
    `uWebSockets.js has no native build for Node.js ${process.versions.node}: WebSockets will be served by ws, which is slower; Node.js 20 has one.`,
  )
}

function openFiles(): Finding {
  let limit = Number.POSITIVE_INFINITY
  try {
    limit = Number(/^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1] ?? limit)
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error
  }
  if (limit < FILES_LEAST) return fail(`At most ${limit} files may be open: run "ulimit -n 65536" first.`)
  if (limit < FILES_GOOD)
    return warn(
      `At most ${limit} files may be open, so about ${limit - 200} WebSockets a node: run "ulimit -n 65536" first.`,
    )
  return ok(`open files: up to ${limit}`)
}

function folder(data: DataFolder): Finding[] {
  if (!existsSync(data.path)) {
    const parent = nearestFolder(data.path)
    return [
      writable(parent)
        ? ok(`data folder ${data.path} (will be made)`)
        : fail(`${parent} is not writable, so ${data.path} cannot be made: set TIDINGS_DATA_DIR to another folder.`),
    ]
  }
  const found = statSync(data.path)
  if (!found.isDirectory())
    return [fail(`The data folder ${data.path} is a file: move it away, or set TIDINGS_DATA_DIR to another folder.`)]
  if (!writable(data.path))
    return [
      fail(
        `The data folder ${data.path} is not writable for this user: change its owner, or set TIDINGS_DATA_DIR to another folder.`,
      ),
    ]
  const findings = [ok(`data folder ${data.path}`)]
  if (process.getuid && found.uid !== process.getuid())
    findings.push(
      warn(
        `The data folder ${data.path} belongs to another user (${found.uid}): start Tidings as that one, or change its owner.`,
      ),
    )
  try {
    const home = storeHome(data)
    if (home.folder !== data.path)
      findings.push(ok(`the stores' data lie in ${home.folder}: ${home.account?.name} cannot reach the data folder`))
    const runner = holderOf(data)
    const running = stillRunning(readState(data).children)
    if (runner) findings.push(ok(`an instance runs here (pid ${runner.pid})`))
    else if (running.length > 0)
      findings.push(
        warn(`An earlier run left ${running.map((child) => child.instance).join(', ')} behind: run "npm run stop".`),
      )
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    findings.push(fail(error.message))
  }
  return findings
}

function disk(data: DataFolder): Finding {
  const place = nearestFolder(data.path)
  const { bavail, bsize } = statfsSync(place)
  const megabytes = Math.round((bavail * bsize) / 1024 ** 2)
  if (bavail * bsize < DISK_LEAST_BYTES / 4) return fail(`Only ${megabytes} MB are free at ${place}: free some space.`)
  if (bavail * bsize < DISK_LEAST_BYTES)
    return warn(`Only ${megabytes} MB are free at ${place}: enough to start, not for long.`)
  return ok(`${megabytes} MB free at ${place}`)
}

function remembered(data: DataFolder, config: Settings): Finding[] {
  try {
    const refusal = partitionsRefusal(
      data,
      dataSetName(config.TIDINGS_REDIS_URL, config.TIDINGS_NAMESPACE),
      config.TIDINGS_PARTITIONS,
    )
    for (const file of [data.secrets, data.ports, data.demo]) readJson(file)
    return refusal ? [fail(refusal)] : []
  } catch (error) {
    return [fail(reasonOf(error))]
  }
}

function programs(config: Settings): Finding[] {
  const givenUrls = { redis: config.TIDINGS_REDIS_URL, mysql: config.TIDINGS_MYSQL_URL, etcd: config.TIDINGS_ETCD_URL }
  const wanted = STORES.filter((store) => !givenUrls[store])
  let found: Partial<Programs>
  try {
    found = findPrograms(packagesFolder(checkout))
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    return wanted.length > 0 ? [fail(error.message)] : []
  }
  return wanted.map((store) => {
    const program = found[store]
    if (program) return ok(`${store}: ${program.path}`)
    const reason = cannotFetch()
    return reason
      ? fail(`${store} is not on this machine, and ${reason}.`)
      : ok(`${store}: will be fetched as Debian packages at the first start (needs the network once)`)
  })
}

async function given(config: Settings): Promise<Finding[]> {
  const looks: Promise<Finding[]>[] = []
  if (config.TIDINGS_REDIS_URL) looks.push(lookAtRedis(config.TIDINGS_REDIS_URL))
  if (config.TIDINGS_MYSQL_URL) looks.push(lookAtMysql(config.TIDINGS_MYSQL_URL))
  if (config.TIDINGS_ETCD_URL) looks.push(lookAtEtcd(config.TIDINGS_ETCD_URL))
  return (await Promise.all(looks)).flat()
}

async function ports(data: DataFolder, config: Settings): Promise<Finding[]> {
  const ours = new Set(holderOf(data) ? stillRunning(readState(data).children).map((child) => child.pid) : [])
  const findings: Finding[] = []
  try {
    await checkHosts(config)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return [fail(error.message)]
  }
  for (const variable of ['TIDINGS_API_PORT', 'TIDINGS_CONNECT_PORT'] as const) {
    const port = config[variable]
    const error = port === 0 ? undefined : await listenError(port, config.TIDINGS_HOST)
    if (error === undefined) {
      findings.push(ok(`${variable} ${port} is free`))
      continue
    }
    if (codeOf(error) === 'EACCES') {
      findings.push(fail(portTaken(variable, port, error).message))
      continue
    }
    const holder = portHolder(port)
    if (holder && ours.has(holder.pid)) findings.push(ok(`${variable} ${port} is used by this instance`))
    else {
      const who = holder ? ` by ${holder.name} (pid ${holder.pid})` : ''
      const given = (process.env[variable] ?? '') !== ''
      findings.push(
        given
          ? fail(`${variable} ${port} is taken${who}: stop it, or give another port.`)
          : warn(`${variable} ${port} is taken${who}: a start takes another one and prints it.`),
      )
    }
  }
  const book = asRecord(readJson(data.ports))
  const known = Object.entries(book).filter((entry): entry is [string, number] => typeof entry[1] === 'number')
  for (const [name, port] of known) {
    if (await isFree(port)) continue
    const holder = portHolder(port)
    if (holder && !ours.has(holder.pid))
      findings.push(
        warn(
          `Port ${port}, used for ${name} so far, is taken by ${holder.name} (pid ${holder.pid}): a start takes another one.`,
        ),
      )
  }
  return findings
}

/** Who listens on a port, as far as this user may see it (Linux only). */
function portHolder(port: number): { pid: number; name: string } | undefined {
  const wanted = port.toString(16).toUpperCase().padStart(4, '0')
  const inodes = new Set<string>()
  for (const table of ['/proc/net/tcp', '/proc/net/tcp6']) {
    if (!existsSync(table)) continue
    for (const line of readFileSync(table, 'utf8').split('\n').slice(1)) {
      const fields = line.trim().split(/\s+/)
      if (fields[1]?.endsWith(`:${wanted}`) && fields[3] === '0A') inodes.add(`socket:[${fields[9]}]`)
    }
  }
  if (inodes.size === 0) return undefined
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const files = readdirSync(`/proc/${pid}/fd`)
      if (files.some((fd) => inodes.has(linkOf(`/proc/${pid}/fd/${fd}`)))) {
        return { pid: Number(pid), name: readFileSync(`/proc/${pid}/comm`, 'utf8').trim() }
      }
    } catch (error) {
      // Another user's process, or one that has just ended: not ours to look into.
      if (!['EACCES', 'EPERM', 'ENOENT', 'ESRCH'].includes(codeOf(error) ?? '')) throw error
    }
  }
  return undefined
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path)
  } catch (error) {
    // Closed between the listing and the look.
    if (codeOf(error) === 'ENOENT') return ''
    throw error
  }
}

function writable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK | constants.X_OK)
    return true
  } catch {
    // The question was whether it is writable: it is not, for whatever reason.
    return false
  }
}

function nearestFolder(path: string): string {
  return existsSync(path) ? path : nearestFolder(join(path, '..'))
}
