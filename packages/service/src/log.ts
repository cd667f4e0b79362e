/** JSON log lines. The logger is made in main.ts and handed down; nothing else makes one. */
import { type DestinationStream, type Logger, pino } from 'pino'

export type { Logger } from 'pino'

/**
 * Names under which a secret or a message's text could reach a log line; their values are cut out. `command` and `sql` are what the
 * drivers put on their errors: the statement that was refused, with all it carried.
 */
const REDACTED = [
  ...['token', 'authorization', 'password', 'refreshToken', 'accessToken', 'ticket', 'content', 'secret'],
  ...['command', 'sql'],
]

/**
 * @param app api, logic, task or connect
 * @param destination where lines go; standard output when left out
 */
export function createLogger(
  options: { app: string; instance: string; level: string },
  destination?: DestinationStream,
): Logger {
  return pino(
    {
      level: options.level,
      base: { app: options.app, instance: options.instance },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: [...REDACTED, ...REDACTED.map((name) => `*.${name}`)], censor: '[redacted]' },
    },
    destination ?? pino.destination({ sync: true }),
  )
}
