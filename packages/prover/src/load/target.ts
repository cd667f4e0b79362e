/** Where clients find a Tidings, ours or anybody's. */
export interface Target {
  /** Base URLs of the apis and of the WebSockets: `http://…`, `ws://…`. */
  apis: readonly string[]
  nodes: readonly string[]
  token(user: string): string
}
