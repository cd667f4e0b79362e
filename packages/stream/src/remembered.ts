/** A pure function of a name that is asked for the same names again and again: its latest answers are kept. */

/**
 * @param of what a name stands for; undefined, for none that should come again, is not kept
 * @param atOnce answers of the latest so many different names are kept for sure, and at most twice as many
 */
export function remembered<Value>(of: (name: string) => Value, atOnce = 8_192): (name: string) => Value {
  let latest = new Map<string, Value>()
  let before = new Map<string, Value>()
  return (name) => {
    const known = latest.get(name)
    if (known !== undefined) return known
    // A copy: the name may be a part of a long string, which would stay as long as it.
    const own = Buffer.from(name).toString()
    const value = before.get(own) ?? of(own)
    if (value === undefined) return value
    if (latest.size >= atOnce) {
      before = latest
      latest = new Map()
    }
    latest.set(own, value)
    return value
  }
}
