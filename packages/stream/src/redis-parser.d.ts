/** What is used of the package, which has no types of its own. */
declare module 'redis-parser' {
  export default class Parser {
    constructor(options: {
      returnReply(reply: unknown): void
      returnError(error: Error): void
      returnFatalError(error: Error): void
    })
    execute(bytes: Buffer): void
  }
}
