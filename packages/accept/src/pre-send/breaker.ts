/** Asks nothing of what has failed several times in a row: after a pause one call finds out whether it is well again. */

export interface Breaker {
  /** May a call be made now? Who is told so says how it ended. */
  admit(): boolean
  succeeded(): void
  failed(): void
}

/**
 * @param failures in a row after which it opens
 * @param pauseMs before one call may try again
 * @param onChange told when it opens and when it closes
 */
export function createBreaker(
  failures: number,
  pauseMs: number,
  onChange: (isOpen: boolean) => void,
  now: () => number = () => performance.now(),
): Breaker {
  let inARow = 0
  let openUntil = 0
  let isOpen = false

  return {
    admit() {
      if (!isOpen) return true
      if (now() < openUntil) return false
      // This one tries; the others wait for what it finds.
      openUntil = now() + pauseMs
      return true
    },
    succeeded() {
      inARow = 0
      if (isOpen) onChange(false)
      isOpen = false
    },
    failed() {
      if (++inARow < failures) return
      openUntil = now() + pauseMs
      if (!isOpen) onChange(true)
      isOpen = true
    },
  }
}
