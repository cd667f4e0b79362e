/** The settings as the runner sees them: all checked, before anything is started. */
import { ConfigError, readEnv, type SettingName, type Settings, settings } from '@tidings/service'
import { codeOf, reasonOf } from './failure.js'
import { listenError } from './ports.js'

/** Reads and checks every setting, those of the apps included: a wrong one is found here and not by an app half a minute later. */
export function readSettings(env: NodeJS.ProcessEnv): Settings {
  const names = Object.keys(settings) as SettingName[]
  return readEnv(env, names) as Settings
}

/** Has the person set this variable? An empty one counts as not set. */
export function isGiven(name: SettingName): boolean {
  return (process.env[name] ?? '') !== ''
}

/** The settings that `status` and `stop` need: a wrong other one must not keep anyone from stopping. */
export function dataDirSetting(env: NodeJS.ProcessEnv): string {
  const given = env.TIDINGS_DATA_DIR ?? ''
  return given === '' ? '.tidings' : given
}

/**
 * Are the addresses to listen on addresses of this machine?
 * @throws ConfigError for the first one that is not
 */
export async function checkHosts(config: Settings): Promise<void> {
  for (const variable of ['TIDINGS_HOST', 'TIDINGS_OPS_HOST', 'TIDINGS_RPC_HOST'] as const) {
    const error = await listenError(0, config[variable])
    if (error === undefined) continue
    throw new ConfigError(
      `${variable}="${config[variable]}" cannot be used: nothing can listen there (${codeOf(error) ?? reasonOf(error)}); give an address of this machine, for example 127.0.0.1 or 0.0.0.0.`,
    )
  }
}

/** A port that someone asked for by name and cannot have. @param error of the attempt to listen there */
export function portTaken(variable: SettingName, port: number, error: unknown): ConfigError {
  const why =
    codeOf(error) === 'EACCES'
      ? 'this user may not listen there; give one from 1024 on'
      : 'another process listens there; stop it, give another port'
  return new ConfigError(`${variable}="${port}" cannot be used: ${why}, or unset ${variable} to get a free one.`)
}
