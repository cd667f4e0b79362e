export * from './check/checker.js'
export * from './history.js'
export * from './plan.js'
