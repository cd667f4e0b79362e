/** The settings as the runner sees them: all checked, before anything is started. */
import { ConfigError, readEnv, type SettingName, type Settings, settings } from '@tidings/service'

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

/** A taken port that someone asked for by name. */
export function portTaken(variable: SettingName, port: number): ConfigError {
  return new ConfigError(
    `${variable}="${port}" cannot be used: another process listens there; stop it, give another port, or unset ${variable} to get a free one.`,
  )
}
