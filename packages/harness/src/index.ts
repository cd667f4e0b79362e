export * from './client.js'
export * from './tokens.js'
export * from './until.js'
export * from './world.js'
