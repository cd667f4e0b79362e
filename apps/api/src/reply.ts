/** Answers that are JSON text already, because content in them must not be written again. */
interface TextReply {
  header(name: string, value: string): unknown
  send(text: string): unknown
}

/** The routes' schemas describe such a text for readers; what it says is the caller's duty. */
export function sendText<R>(reply: R, text: string): R {
  const plain = reply as TextReply
  plain.header('content-type', 'application/json; charset=utf-8')
  plain.send(text)
  return reply
}
