/** Holds what arrives against what was sent: nothing lost, doubled, out of order, changed, or given to someone else. */

/** Every message has its number in its content: the content proves that it is the right one, and as it was written. */
export function contentOf(index: number, bytes: number = CONTENT_BYTES): string {
  const head = `{"i":${index},"text":"`
  return `${head}${FILL.slice(0, bytes - head.length - 2)}"}`
}

export const CONTENT_BYTES = 140
/** Enough for the largest content that is accepted. */
const FILL = 'the quick brown fox jumps over the lazy dog and then '.repeat(400)
const EXAMPLES = 10

/** A message as a receiver saw it. */
export interface Arrival {
  receiver: number
  conversation: string
  seq: number
  index: number
}

interface Sent {
  receiver: number
  conversation: string
  /** 0 as long as there is no answer. */
  acceptedSeq: number
  /** It was said that it is not accepted. */
  refused: boolean
  /** 0 as long as it has not arrived. */
  arrivedSeq: number
}

/** Each conversation is watched by one receiver. */
export class Checker {
  readonly #sent: Sent[] = []
  readonly #lastSeq = new Map<string, number>()
  readonly #faults: string[] = []
  #faultCount = 0
  #accepted = 0
  #arrived = 0

  /** Messages that were answered with a 202. */
  get accepted(): number {
    return this.#accepted
  }

  /** Different messages that have arrived. */
  get arrived(): number {
    return this.#arrived
  }

  /** Has everything that was accepted arrived? */
  get complete(): boolean {
    return this.#arrived >= this.#accepted
  }

  /** Notes a message that is about to be sent. @returns its number */
  send(receiver: number, conversation: string): number {
    return this.#sent.push({ receiver, conversation, acceptedSeq: 0, refused: false, arrivedSeq: 0 }) - 1
  }

  /** The server has taken it, as entry `seq`. */
  accept(index: number, conversation: string, seq: number): void {
    const sent = this.#sent[index]!
    sent.acceptedSeq = seq
    this.#accepted++
    if (conversation !== sent.conversation) this.fault(`message ${index} was accepted into ${conversation}`)
    if (sent.arrivedSeq !== 0 && sent.arrivedSeq !== seq) this.#renumbered(index, sent)
  }

  /** The server has said that it is not taken: then nobody may be shown it. */
  refuse(index: number): void {
    this.#sent[index]!.refused = true
  }

  /** A receiver was shown it. */
  arrive(arrival: Arrival): void {
    const sent = this.#sent[arrival.index]
    const { receiver, conversation, seq, index } = arrival
    if (!sent) {
      this.fault(`receiver ${receiver} was shown message ${index}, which nobody has sent`)
      return
    }
    const why = whyNot(arrival, sent)
    if (why !== undefined) {
      this.fault(why)
      return
    }
    const last = this.#lastSeq.get(conversation) ?? 0
    if (seq !== last + 1) this.fault(`misordered: ${conversation} shows seq ${seq} after ${last}`)
    this.#lastSeq.set(conversation, seq)
    sent.arrivedSeq = seq
    this.#arrived++
    if (sent.acceptedSeq !== 0 && sent.acceptedSeq !== seq) this.#renumbered(index, sent)
  }

  /** Something was wrong. The first ones are kept as they are, the rest is counted. */
  fault(what: string): void {
    this.#faultCount++
    if (this.#faults.length < EXAMPLES) this.#faults.push(what)
  }

  /** Everything that was wrong so far, what has not arrived included. */
  faults(): string[] {
    const lost = this.#sent.flatMap(({ acceptedSeq, arrivedSeq, conversation }, index) =>
      acceptedSeq !== 0 && arrivedSeq === 0 ? [`lost: message ${index}, ${conversation} seq ${acceptedSeq}`] : [],
    )
    const all = [...this.#faults, ...lost.slice(0, EXAMPLES)]
    const more = this.#faultCount + lost.length - all.length
    return more > 0 ? [...all, `and ${more} more`] : all
  }

  #renumbered(index: number, { acceptedSeq, arrivedSeq }: Sent): void {
    this.fault(`message ${index} was accepted as seq ${acceptedSeq} and shown as seq ${arrivedSeq}`)
  }
}

/** Why an arrival does not count at all; undefined when it does. */
function whyNot({ receiver, conversation, seq, index }: Arrival, sent: Sent): string | undefined {
  if (sent.receiver !== receiver || sent.conversation !== conversation)
    return `message ${index} to receiver ${sent.receiver} was shown to ${receiver} in ${conversation}`
  if (sent.refused) return `refused, and shown all the same: message ${index}, ${conversation} seq ${seq}`
  if (sent.arrivedSeq !== 0) return `doubled: message ${index}, ${conversation} seq ${seq}`
  return undefined
}
