/**
 * Items by a key; groups and items stay in the order in which they came. What `Map.groupBy` does from Node.js 21 on.
 * @param keyOf asked once for each item
 */
export function groupBy<K, T>(items: Iterable<T>, keyOf: (item: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>()
  for (const item of items) {
    const key = keyOf(item)
    const group = groups.get(key)
    if (group) group.push(item)
    else groups.set(key, [item])
  }
  return groups
}
