/** For tests: real stores, one's own, to be started and killed at will. */
export { findBinaries } from './packages.js'
export type { RunningStore } from './store.js'
export { type StartOptions, startEtcd, startMysql, startRedis, startStores, type TestStores } from './stores.js'
