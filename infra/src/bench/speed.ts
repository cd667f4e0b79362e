/** The machine's speed varies from one point to the next: the reference loop says how much. */
import type { PointFigures } from './figures.js'
import { middleBy } from './statistics.js'

/** What to multiply each point's CPU times with, so that all are those of a machine of the middle one's speed. */
export function speedsOf(points: readonly PointFigures[]): number[] {
  if (points.length === 0) return []
  const { referenceNs: middle } = middleBy(points, ({ referenceNs }) => referenceNs)
  return points.map(({ referenceNs }) => middle / referenceNs)
}
