/** The environment, read once: names to checked values, with one clear line for the first thing that is wrong. */
import { cleanEnv, EnvMissingError, type ValidatorSpec } from 'envalid'
import { type SettingName, type Settings, settings } from './settings.js'

/** The exit status of a process whose settings are wrong (sysexits.h, EX_CONFIG). */
export const EX_CONFIG = 78

/** A setting that cannot be used. The message names the variable, the value (never a secret's) and the fix. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

/**
 * Reads and checks the named settings. Every other `TIDINGS_` variable must be a known one too, so that a typing error is
 * found at the start and not in production.
 * @param env usually `process.env`, given by main.ts
 * @throws ConfigError for the first variable that is wrong
 */
export function readEnv<N extends SettingName>(env: NodeJS.ProcessEnv, names: readonly N[]): Pick<Settings, N> {
  refuseUnknown(env)
  const specs: Record<string, ValidatorSpec<unknown>> = {}
  const given: Record<string, string> = {}
  for (const name of names) {
    specs[name] = settings[name] as ValidatorSpec<unknown>
    const value = env[name]
    // An empty value means "not given": shells and compose files cannot unset a variable.
    if (value !== undefined && value !== '') given[name] = value
  }
  const values = cleanEnv(given, specs, {
    reporter: ({ errors }) => {
      for (const [name, error] of Object.entries(errors)) {
        if (error) throw new ConfigError(describe(name as SettingName, given[name], error))
      }
    },
  })
  return Object.freeze({ ...values }) as unknown as Pick<Settings, N>
}

/**
 * A setting that has no default because `npm start` gives it.
 * @param app the process that needs it @throws ConfigError when it is not set
 */
export function requireSetting<T>(app: string, name: SettingName, value: T | undefined): T {
  if (value !== undefined) return value
  throw new ConfigError(`${name} is not set. npm start sets it; set it yourself where you run ${app} alone.`)
}

function describe(name: SettingName, value: string | undefined, error: Error): string {
  if (error instanceof EnvMissingError) return `${name} is not set. ${settings[name].desc ?? ''}`.trim()
  const shown = settings[name].docs === 'secret' ? '(hidden)' : `"${value ?? ''}"`
  return `${name}=${shown} ${error.message}`
}

function refuseUnknown(env: NodeJS.ProcessEnv): void {
  for (const name of Object.keys(env)) {
    if (!name.startsWith('TIDINGS_') || Object.hasOwn(settings, name)) continue
    const near = Object.keys(settings).find((known) => distanceAtMostTwo(known, name))
    const hint = near ? `Did you mean ${near}?` : 'docs/settings.md lists all settings; remove this one.'
    throw new ConfigError(`${name} is not a setting of Tidings. ${hint}`)
  }
}

/** Do two names differ by at most two single-character edits? Enough to suggest what was meant. */
function distanceAtMostTwo(a: string, b: string): boolean {
  const within = (i: number, j: number, left: number): boolean => {
    while (i < a.length && j < b.length && a[i] === b[j]) {
      i++
      j++
    }
    if (i === a.length && j === b.length) return true
    if (left === 0) return false
    return within(i + 1, j, left - 1) || within(i, j + 1, left - 1) || within(i + 1, j + 1, left - 1)
  }
  return within(0, 0, 2)
}
