/** Of an acceptor that looks for nothing in what is sent. */
export const unscreened = {
  screen: { active: false, find: () => undefined, checkWords: () => undefined, check: () => undefined },
  flagged: { add: () => undefined },
}
