/** What of an entry a push is about. */
import { countsAsMessage, type Entry, roomEventOf } from '@tidings/protocol'

const PREVIEW = 200

/** Is it something that a person reads, and not what happened to the room or to an earlier message? */
export const isForPeople = (entry: Entry): boolean => countsAsMessage(entry.type) && !roomEventOf(entry)

/** The beginning of its text, '' where there is none. */
export function previewOf({ content }: Pick<Entry, 'content'>): string {
  const { text } = JSON.parse(content) as { text?: unknown }
  if (typeof text !== 'string') return ''
  const whole = [...text.slice(0, 2 * PREVIEW)]
  return whole.length > PREVIEW ? `${whole.slice(0, PREVIEW).join('')}…` : whole.join('')
}
