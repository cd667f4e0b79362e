/** The commands behind `npm start`, `npm test` and the rest. */
import { ConfigError, EX_CONFIG } from '@tidings/service'
import { Failure } from './failure.js'

const commands: Record<string, () => Promise<(args: string[]) => Promise<number>>> = {
  start: async () => (await import('./start.js')).start,
  dev: async () => (await import('./dev.js')).dev,
  status: async () => (await import('./status.js')).status,
  stop: async () => (await import('./stop.js')).stop,
  doctor: async () => (await import('./doctor.js')).doctor,
  migrate: async () => (await import('./start.js')).migrateOnly,
  dead: async () => (await import('./dead.js')).dead,
  admin: async () => (await import('./admin.js')).admin,
  listen: async () => (await import('./listen.js')).listen,
  stores: async () => (await import('./test.js')).holdStores,
  test: async () => (await import('./test.js')).test,
  bench: async () => (await import('./bench.js')).bench,
  prove: async () => (await import('./prove.js')).prove,
}

async function main([name = '', ...args]: string[]): Promise<number> {
  const command = commands[name]
  if (!command)
    throw new Failure(`There is no command "${name}": the commands are ${Object.keys(commands).join(', ')}.`, {
      exitCode: 2,
    })
  const run = await command()
  // Those that take arguments say so themselves.
  if (run.length === 0 && args.length > 0)
    throw new Failure(
      `"${name}" takes no arguments, and was given ${args.join(' ')}: settings are environment variables, docs/settings.md.`,
      {
        exitCode: 2,
      },
    )
  return run(args)
}

// Whoever read what we say may be gone (npm start | head). Unheard, a runner goes on: else its processes had nobody to look after them.
for (const out of [process.stdout, process.stderr]) out.on('error', () => undefined)

try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  if (error instanceof ConfigError) {
    console.error(error.message)
    process.exitCode = EX_CONFIG
  } else if (error instanceof Failure) {
    console.error(error.message)
    process.exitCode = error.exitCode
  } else {
    // Not foreseen, so a fault of ours: the stack is what a report needs.
    console.error(error)
    process.exitCode = 1
  }
}
// Sockets of a probe that timed out may still be open: nothing is left to be done for them.
process.exit()
