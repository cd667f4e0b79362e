import { createLogger, createMetrics, runMain, startTracing } from '@tidings/service'
import { startLogic } from './app.js'
import { readConfig } from './config.js'

await runMain(async () => {
  const config = readConfig(process.env)
  const { instance } = config
  const log = createLogger({ app: 'logic', instance, level: config.logLevel })
  const metrics = createMetrics('logic', instance)
  const tracing = await startTracing({ url: config.otlpUrl, app: 'logic', instance })
  const app = await startLogic(config, { log, metrics, tracing })
  return {
    log,
    async stop() {
      await app.stop()
      await tracing.stop()
    },
  }
})
