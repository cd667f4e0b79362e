import { createLogger, createMetrics, runMain, startTracing } from '@tidings/service'
import { startConnect } from './app.js'
import { readConfig } from './config.js'

await runMain(async () => {
  const config = readConfig(process.env)
  const { instance } = config.edge
  const log = createLogger({ app: 'connect', instance, level: config.logLevel })
  const metrics = createMetrics('connect', instance)
  const tracing = await startTracing({ url: config.otlpUrl, app: 'connect', instance })
  const app = await startConnect(config, { log, metrics, tracing })
  return {
    log,
    async stop() {
      await app.stop()
      await tracing.stop()
    },
  }
})
