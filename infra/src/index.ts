/** For tests: real stores, one's own, to be started and killed at will. */
export { type Link, startLink } from './link.js'
export { findBinaries } from './packages.js'
export { type RedisCluster, startRedisCluster } from './redis-cluster.js'
export { type RedisReplicated, startRedisReplicated } from './redis-replicated.js'
export type { RunningStore } from './store.js'
export { type StartOptions, startEtcd, startMysql, startRedis, startStores, type TestStores } from './stores.js'
