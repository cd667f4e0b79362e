export { type ConnectApp, startConnect, WS_PATH } from './app.js'
export { type ConnectConfig, readConfig } from './config.js'
export { Flow } from './sequencer.js'
