/** One clock for all threads and processes: microseconds of the system's monotonic clock, the one V8's profiles use too. */

/** Microseconds since the machine was started. Read as it is: an offset to another clock would be wrong by a pause between two reads. */
export function nowUs(): number {
  const [seconds, nanoseconds] = process.hrtime()
  return seconds * 1_000_000 + nanoseconds / 1_000
}
