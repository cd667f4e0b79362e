/** One clock for all threads and processes: microseconds of the system's monotonic clock, the one V8's profiles use too. */
const origin = Number(process.hrtime.bigint()) / 1_000 - performance.now() * 1_000

/** Microseconds since the machine was started. */
export function nowUs(): number {
  return origin + performance.now() * 1_000
}
