/** The limits that can be changed while everything runs: what may be set, and how much of each. */

/** The least and the most of each; all are whole numbers. */
export const LIVE_LIMITS = {
  sendsPerS: [1, 1_000_000],
  callsPerS: [1, 1_000_000],
  servicePerS: [1, 1_000_000],
  addressPerS: [1, 1_000_000],
  loginsPerMin: [1, 1_000_000],
  registersPerMin: [1, 1_000_000],
  connectionsPerUser: [1, 1_000_000],
  connectionsPerAddress: [1, 1_000_000],
  sessionsPerUser: [0, 1_000_000],
} as const

export type LimitName = keyof typeof LIVE_LIMITS
/** What is not named stays as the settings say. */
export type LiveLimits = Partial<Record<LimitName, number>>

/** @returns what a text in etcd sets; undefined for one that nobody of ours has written */
export function parseLimits(text: string): LiveLimits | undefined {
  let given: unknown
  try {
    given = JSON.parse(text)
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
  if (typeof given !== 'object' || given === null || Array.isArray(given)) return undefined
  for (const [name, value] of Object.entries(given)) {
    // One that a newer version knows is not ours to refuse.
    if (!Object.hasOwn(LIVE_LIMITS, name)) continue
    const [least, most] = LIVE_LIMITS[name as LimitName]
    if (!Number.isInteger(value) || value < least || value > most) return undefined
  }
  return given as LiveLimits
}
