/** What a sender on a WebSocket keeps: each accepted message until its session has said that MySQL has it. */
interface Copy {
  conv: string
  seq: number
  /** The receipt may still come: its session lives, and has not called its seq void. */
  due: boolean
}

export class Copies {
  #copies: Copy[] = []

  accepted(conv: string, seq: number): void {
    this.#copies.push({ conv, seq, due: true })
  }

  /** Receipts are cumulative, save over what the session has called void. */
  stored(conv: string, upTo: number): void {
    this.#copies = this.#copies.filter((copy) => !(copy.due && copy.conv === conv && copy.seq <= upTo))
  }

  forgotten(conv: string, from: number, to: number): void {
    for (const copy of this.#copies) if (copy.conv === conv && from <= copy.seq && copy.seq <= to) copy.due = false
  }

  /** The session has ended: the next one knows of none of these. */
  cut(): void {
    for (const copy of this.#copies) copy.due = false
  }

  has(conv: string, seq: number): boolean {
    return this.#copies.some((copy) => copy.conv === conv && copy.seq === seq)
  }
}
