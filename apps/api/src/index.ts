export { type Api, type ApiDeps, type ApiLimits, type ApiSettings, LIMITS } from './api.js'
export { buildApp } from './app.js'
export { type ApiConfig, readConfig } from './config.js'
export { type ApiApp, startApi } from './start.js'
