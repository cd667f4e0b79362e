import { createLogger, createMetrics, runMain, startTracing } from '@tidings/service'
import { startTask } from './app.js'
import { readConfig } from './config.js'

await runMain(async () => {
  const config = readConfig(process.env)
  const { instance } = config
  const log = createLogger({ app: 'task', instance, level: config.logLevel })
  const metrics = createMetrics('task', instance)
  const tracing = await startTracing({ url: config.otlpUrl, app: 'task', instance })
  const app = await startTask(config, { log, metrics, tracing })
  return {
    log,
    async stop() {
      await app.stop()
      await tracing.stop()
    },
  }
})
