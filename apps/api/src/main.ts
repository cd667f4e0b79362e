import { createLogger, createMetrics, runMain, startTracing } from '@tidings/service'
import { readConfig } from './config.js'
import { startApi } from './start.js'

await runMain(async () => {
  const config = readConfig(process.env)
  const { instance } = config.edge
  const log = createLogger({ app: 'api', instance, level: config.logLevel })
  const metrics = createMetrics('api', instance)
  const tracing = await startTracing({ url: config.otlpUrl, app: 'api', instance })
  const app = await startApi(config, { log, metrics, tracing })
  return {
    log,
    async stop() {
      await app.stop()
      await tracing.stop()
    },
  }
})
