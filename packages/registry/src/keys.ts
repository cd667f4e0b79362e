/** Every etcd key, spelled once. */
export type AppName = 'api' | 'logic' | 'task' | 'connect'

export interface RegistryKeys {
  node(app: AppName, instance: string): string
  nodes(app: AppName): string
  session(user: string, session: string): string
  sessionsOf(user: string): string
  sessions(): string
  partition(group: string, partition: number): string
  partitions(group: string): string
  room(room: string): string
  rooms(): string
  worker(n: number): string
  workers(): string
  config(name: string): string
  /** Never there: what is asked about it shows whether etcd takes writes. */
  health(): string
}

/** @param namespace first word of every key, `tidings` unless instances share an etcd */
export function createRegistryKeys(namespace: string): RegistryKeys {
  const root = `/${namespace}`
  return {
    node: (app, instance) => `${root}/nodes/${app}/${instance}`,
    nodes: (app) => `${root}/nodes/${app}/`,
    session: (user, session) => `${root}/users/${user}/${session}`,
    sessionsOf: (user) => `${root}/users/${user}/`,
    sessions: () => `${root}/users/`,
    partition: (group, partition) => `${root}/partitions/${group}/${partition}`,
    partitions: (group) => `${root}/partitions/${group}/`,
    room: (room) => `${root}/rooms/${room}`,
    rooms: () => `${root}/rooms/`,
    worker: (n) => `${root}/workers/${n}`,
    workers: () => `${root}/workers/`,
    config: (name) => `${root}/config/${name}`,
    health: () => `${root}/health`,
  }
}
