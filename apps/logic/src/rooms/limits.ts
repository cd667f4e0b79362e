/** Bounds of rooms. */

export const MAX_ROOM_MEMBERS = 100_000
/** Two that join at the same moment may both be the last one. */
export const MAX_ROOMS_OF_A_USER = 1_000
export const MIN_TTL_S = 60
export const MAX_TTL_S = 365 * 24 * 60 * 60
