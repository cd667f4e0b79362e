/** A person who sends over the WebSocket that they also listen on, several messages under way at once. */
import { nowUs } from './clock.js'
import { type AnswerFrame, Receiver, type ReceiverEvents } from './receiver.js'

/** An answer is missing for so long: it will not come. */
const LOST_AFTER_US = 10_000_000
const LOOK_EVERY_MS = 1_000
/** One's own messages come back like those of others: a device that acknowledges nothing is shown nothing more. */
const ACK_EVERY_MS = 200

interface Pending {
  sinceUs: number
  resolve(answer: AnswerFrame): void
}

export class Speaker {
  /** By clientId, the oldest first. */
  readonly #pending = new Map<string, Pending>()
  readonly #looks: NodeJS.Timeout
  #receiver: Receiver | undefined

  private constructor(private readonly events: ReceiverEvents) {
    this.#looks = setInterval(() => this.#giveUp(nowUs() - LOST_AFTER_US, 'no answer came'), LOOK_EVERY_MS)
  }

  /** Connects as the user of the token. */
  static async open(url: string, token: string, events: ReceiverEvents): Promise<Speaker> {
    const speaker = new Speaker(events)
    const own: ReceiverEvents = {
      message: events.message,
      unexpected(what) {
        events.unexpected(what)
        speaker.#giveUp(Number.POSITIVE_INFINITY, 'the socket was closed')
      },
      answer: (frame) => speaker.#answered(frame),
    }
    try {
      speaker.#receiver = await Receiver.open(url, token, own, { ackEveryMs: ACK_EVERY_MS })
    } catch (error) {
      speaker.close()
      throw error
    }
    return speaker
  }

  /** Sends a message and waits for `sent` or `error`. @param content JSON, sent as it is */
  send(to: string, content: string, clientId: string): Promise<AnswerFrame> {
    return new Promise((resolve) => {
      this.#pending.set(clientId, { sinceUs: nowUs(), resolve })
      this.#receiver!.say(`{"op":"send","to":{"user":"${to}"},"content":${content},"clientId":"${clientId}"}`)
    })
  }

  close(): void {
    clearInterval(this.#looks)
    this.#receiver?.close()
  }

  #answered(frame: AnswerFrame): void {
    const pending = this.#pending.get(frame.clientId ?? '')
    if (!pending) {
      this.events.unexpected(`an answer to nothing: ${JSON.stringify(frame).slice(0, 200)}`)
      return
    }
    this.#pending.delete(frame.clientId!)
    pending.resolve(frame)
  }

  #giveUp(beforeUs: number, message: string): void {
    for (const [clientId, { sinceUs, resolve }] of this.#pending) {
      if (sinceUs > beforeUs) return
      this.#pending.delete(clientId)
      resolve({ op: 'error', clientId, message })
    }
  }
}
