/** Bounds of rooms. */

export const MAX_ROOM_MEMBERS = 100_000
/** Two that join at the same moment may both be the last one. */
export const MAX_ROOMS_OF_A_USER = 1_000
export const MIN_TTL_S = 60
/** For how long a room may keep its entries, where it says so. */
export const MAX_RETENTION_DAYS = 3_650
export const MAX_TTL_S = 365 * 24 * 60 * 60
