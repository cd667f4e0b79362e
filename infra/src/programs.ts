/** Where the servers' programs are: on this machine already, or in the unpacked packages. */
import { accessSync, constants, readdirSync } from 'node:fs'
import { delimiter, join } from 'node:path'

/** The stores the product runs on. */
export const STORES = ['redis', 'mysql', 'etcd'] as const
export type StoreName = (typeof STORES)[number]

/** A program to run, with what its children need to find their libraries. */
export interface Program {
  path: string
  env: Record<string, string>
}

/** Everything needed to run the three stores. */
export interface Programs {
  redis: Program
  etcd: Program
  /** MariaDB: the server, the script that makes an empty data folder, and where their files lie. */
  mysql: Program & { install: string; basedir?: string }
}

/** Looks for each program in the packages' folder and then on the machine. What is not found is absent. */
export function findPrograms(pkgs: string): Partial<Programs> {
  const found: Partial<Programs> = {}
  const unpacked = libraries(pkgs)
  for (const place of [...machinePlaces(), ...packagePlaces(pkgs)]) {
    const env: Record<string, string> = place.startsWith(pkgs) ? unpacked : {}
    const redis = executable(join(place, 'redis-server'))
    if (redis) found.redis ??= { path: redis, env }
    const etcd = executable(join(place, 'etcd'))
    if (etcd) found.etcd ??= { path: etcd, env }
    const mariadbd = executable(join(place, 'mariadbd'))
    const install = mariadbd && installScript(place)
    if (mariadbd && install) {
      const basedir = place.startsWith(pkgs) ? join(pkgs, 'usr') : brewBase(place)
      found.mysql ??= { path: mariadbd, install, env, ...(basedir ? { basedir } : {}) }
    }
  }
  return found
}

function machinePlaces(): string[] {
  const path = (process.env.PATH ?? '').split(delimiter).filter((place) => place.startsWith('/'))
  const usual = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/usr/libexec']
  const brew = ['/opt/homebrew', '/usr/local'].flatMap((root) =>
    ['redis', 'mariadb', 'etcd'].map((name) => `${root}/opt/${name}/bin`),
  )
  return [...new Set([...path, ...usual, ...brew])]
}

function packagePlaces(pkgs: string): string[] {
  return [join(pkgs, 'usr/bin'), join(pkgs, 'usr/sbin')]
}

function brewBase(place: string): string | undefined {
  return place.endsWith('/opt/mariadb/bin') ? join(place, '..') : undefined
}

function installScript(place: string): string | undefined {
  for (const folder of [place, join(place, '../bin'), join(place, '../scripts')]) {
    const script = executable(join(folder, 'mariadb-install-db'))
    if (script) return script
  }
  return undefined
}

function executable(path: string): string | undefined {
  try {
    accessSync(path, constants.X_OK)
    return path
  } catch {
    // Absent or not for us: either way the next place is looked at.
    return undefined
  }
}

/** The unpacked libraries lie where the loader does not look by itself. */
function libraries(pkgs: string): Record<string, string> {
  const folders = ['usr/lib', 'lib'].flatMap((base) =>
    subfolders(join(pkgs, base)).filter((folder) => folder.includes('linux-gnu')),
  )
  const path = [join(pkgs, 'usr/sbin'), join(pkgs, 'usr/bin'), process.env.PATH ?? ''].join(delimiter)
  return folders.length === 0 ? {} : { LD_LIBRARY_PATH: folders.join(':'), PATH: path }
}

function subfolders(folder: string): string[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
      .filter((item) => item.isDirectory())
      .map((item) => join(folder, item.name))
  } catch {
    // No packages are unpacked here.
    return []
  }
}
