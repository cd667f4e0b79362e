/** An etcd of our own: one member, short elections, history compacted. */
import { mkdirSync } from 'node:fs'
import { Failure } from './failure.js'
import { ownedBy } from './folders.js'
import type { Place, Store } from './store.js'

/** Describes an etcd in a place, on two ports. */
export function etcd(place: Place, ports: { client: number; peer: number }): Store {
  const url = `http://127.0.0.1:${ports.client}`
  const peer = `http://127.0.0.1:${ports.peer}`
  return {
    name: 'etcd',
    url,
    ports: { client: ports.client, peer: ports.peer },
    folder: place.folder,
    log: place.log,
    async prepare() {
      mkdirSync(place.folder, { recursive: true, mode: 0o700 })
      ownedBy(place.folder, place.account)
    },
    command: () => ({
      file: place.programs.etcd.path,
      // biome-ignore format: one flag with its value a line
      args: [
        '--name', 'tidings',
        '--data-dir', place.folder,
        '--listen-client-urls', url,
        '--advertise-client-urls', url,
        '--listen-peer-urls', peer,
        '--initial-advertise-peer-urls', peer,
        '--initial-cluster', `tidings=${peer}`,
        // The defaults cost a whole second of election at each start.
        '--heartbeat-interval', '50',
        '--election-timeout', '300',
        '--auto-compaction-mode', 'periodic',
        '--auto-compaction-retention', '10m',
        '--log-level', 'warn',
        ...(place.fast ? ['--unsafe-no-fsync'] : []),
      ],
      env: { ...withoutEtcdSettings(process.env), ...place.programs.etcd.env },
      cwd: place.folder,
      account: place.account,
    }),
    probe: () => checkEtcd(url),
  }
}

/** etcd reads its flags from ETCD_* too: an operator's client settings must not change our server. */
function withoutEtcdSettings(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('ETCD_')))
}

/** Asks an endpoint for its health: it has a leader and can commit. */
export async function checkEtcd(url: string): Promise<void> {
  const answer = await fetch(new URL('/health', url), { signal: AbortSignal.timeout(2_000) })
  const { health } = (await answer.json()) as { health?: unknown }
  if (health !== 'true' && health !== true) throw new Failure('etcd says that it is not healthy')
}

/**
 * Raises the alarm that etcd raises by itself when its database has reached its quota, or puts it down. It obeys: until then it takes no writes.
 * @throws when etcd does not answer
 */
export async function setOutOfSpace(url: string, raised: boolean): Promise<void> {
  const { header } = await callEtcd<{ header: { member_id: string } }>(url, 'maintenance/status', {})
  const action = raised ? 'ACTIVATE' : 'DEACTIVATE'
  await callEtcd(url, 'maintenance/alarm', { action, memberID: header.member_id, alarm: 'NOSPACE' })
}

/** Asks its JSON gateway. @throws when it does not answer, or refuses */
export async function callEtcd<T>(url: string, path: string, body: object): Promise<T> {
  const reply = await fetch(new URL(`/v3/${path}`, url), {
    method: 'POST',
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(5_000),
  })
  if (!reply.ok) throw new Failure(`etcd ${path}: ${reply.status} ${await reply.text()}`)
  return (await reply.json()) as T
}
