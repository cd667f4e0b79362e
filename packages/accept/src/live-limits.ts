/** Limits that operators set while everything runs, as the edges follow them. */
import { type Registry, watchLiveConfig } from '@tidings/registry'
import { type LiveLimits, type Logger, parseLimits, type Stoppable } from '@tidings/service'

/** Below /tidings/config/ in etcd. */
export const LIMITS_KEY = 'limits'

/** @param onChange what is set, now and at every change; what cannot be read changes nothing */
export async function watchLimits(
  registry: Pick<Registry, 'etcd' | 'keys'>,
  onChange: (limits: LiveLimits) => void,
  log: Logger,
): Promise<Stoppable> {
  function tell(text: string | undefined): void {
    const limits = text === undefined ? {} : parseLimits(text)
    if (limits) onChange(limits)
    else log.warn({ key: LIMITS_KEY }, 'the limits in etcd cannot be read; those of before hold')
  }
  return watchLiveConfig(registry, LIMITS_KEY, tell, log)
}
