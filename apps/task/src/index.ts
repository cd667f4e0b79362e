export { startTask, type TaskApp } from './app.js'
export { readConfig, type TaskConfig } from './config.js'
export { route } from './route.js'
