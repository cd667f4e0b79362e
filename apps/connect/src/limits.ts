/** How many sessions and sockets there may be: the settings, and over them what operators set while this node runs. */
import type { LiveLimits } from '@tidings/service'
import type { ConnectConfig, SessionsPolicy } from './config.js'

export interface ConnectLimits {
  /** Messages of a user per second, whatever way they come; Infinity where limits are off. */
  readonly sendsPerS: number
  /** Live sessions that a user may have here; Infinity where limits are off. */
  readonly perUser: number
  /** WebSockets from one address here; Infinity where limits are off. */
  readonly perAddress: number
  /** Sessions of a user on all nodes together; 0: no policy. */
  readonly sessionsPerUser: number
  readonly policy: SessionsPolicy
  /** What operators have set; what is not named is as in the settings. */
  set(live: LiveLimits): void
}

export function createLimits(
  config: Pick<
    ConnectConfig,
    'rateLimits' | 'sendsPerS' | 'maxPerUser' | 'maxPerAddress' | 'sessionsPerUser' | 'sessionsPolicy'
  >,
): ConnectLimits {
  let live: LiveLimits = {}
  const unlessOff = (most: number): number => (config.rateLimits ? most : Number.POSITIVE_INFINITY)
  return {
    get sendsPerS() {
      return unlessOff(live.sendsPerS ?? config.sendsPerS)
    },
    get perUser() {
      return unlessOff(live.connectionsPerUser ?? config.maxPerUser)
    },
    get perAddress() {
      return unlessOff(live.connectionsPerAddress ?? config.maxPerAddress)
    },
    get sessionsPerUser() {
      return live.sessionsPerUser ?? config.sessionsPerUser
    },
    policy: config.sessionsPolicy,
    set(given) {
      live = given
    },
  }
}
