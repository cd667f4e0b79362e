/** Where clients find a Tidings, ours or anybody's. */
export interface Target {
  /** Base URLs of the apis and of the WebSockets: `http://…`, `ws://…`. */
  apis: readonly string[]
  nodes: readonly string[]
  token(user: string): string
  /** A token of a server that may push, and who it is in what it pushes; undefined where there is none. */
  service?: { token: string; from: string } | undefined
}
