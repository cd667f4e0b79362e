/** The figures of the suite `routes` for people. */
import type { RoutesFigures, RoutesStretch } from './figures.js'
import { timesOf } from './statistics.js'

export function renderRoutes(figures: RoutesFigures): string[] {
  const { sessions, users, nodes, died, fillSeconds, etcd, loaded, lookUp, quiet, death, back, reload } = figures
  const stretch = ({ ms, firstMs, cpuMs, late }: RoutesStretch): string =>
    `${ms.toFixed(0)} ms (first ${firstMs.toFixed(0)}), ${cpuMs.toFixed(0)} ms of CPU; look-ups late by ${timesOf(late)}`
  return [
    `routes: ${sessions} sessions of ${users} users on ${nodes} nodes, listed in ${fillSeconds.toFixed(1)} s (${(sessions / fillSeconds).toFixed(0)}/s)`,
    `  etcd: ${etcd.dbMib.toFixed(0)} MiB of its quota, ${etcd.residentMib.toFixed(0)} MiB resident`,
    `  loaded in ${(loaded.ms / 1_000).toFixed(1)} s (CPU: mirror ${(loaded.cpuMs / 1_000).toFixed(1)} s, etcd ${(etcd.loadCpuMs / 1_000).toFixed(1)} s); ${loaded.bytesPerSession.toFixed(0)} bytes a session, ${loaded.heapBytesPerSession.toFixed(0)} of them in the heap; resident at most ${loaded.peakMib.toFixed(0)} MiB, then ${loaded.residentMib.toFixed(0)}`,
    `  a look-up: ${lookUp.knownNs.toFixed(0)} ns, of somebody who is not there ${lookUp.unknownNs.toFixed(0)} ns`,
    `  nothing happens: look-ups late by ${timesOf(quiet.late)}`,
    `  a node dies, ${died} sessions: ${stretch(death)}`,
    `  its users are back: ${stretch(back)}`,
    `  etcd ends and is there again after ${(etcd.downMs / 1_000).toFixed(1)} s, all is read anew: ${stretch(reload)}`,
  ]
}
