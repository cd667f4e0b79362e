/**
 * The keys and arguments of a call of append.lua, which says what they mean. There are seventeen words per item, and one more for one
 * that changes another entry: written one by one they cost more than all the rest of an append does here.
 */
import { countsAsMessage } from '@tidings/protocol'
import { digestsOf } from './append-answers.js'
import { type AppendItem, type Batch, countOf, type Waiting } from './append-lines.js'
import { changeWords } from './folds.js'
import type { Keys } from './keys.js'
import { memberRule } from './members.js'
import { isAscii, type Written, write } from './resp.js'

const PARTITION_KEYS = 4
const ITEM_KEYS = 6
const ITEM_ARGS = 11

const changesMembers = (members: AppendItem['members']): boolean => typeof members === 'object'

/** A change of members is no message. */
const counts = ({ type, members }: AppendItem): boolean => countsAsMessage(type) && !changesMembers(members)

/** Whether it counts; behind that, where there are any, its options. @param place of the keys that a collapse needs, '' without one */
const flagsOf = (item: AppendItem, place: string): string => {
  const flag = counts(item) ? '1' : '0'
  return item.options === undefined ? flag : `${flag} ${place}${item.options}`
}

/** What append.lua is told about members; or that the item is not appended at all. */
const ruleOf = ({ members, refusal }: AppendItem): string => (refusal === undefined ? memberRule(members) : 'never')

/** No user has this name: a once-key of a change of members can be taken by nobody's own send. */
export const CHANGES_OF_MEMBERS = ''

const onceOwner = ({ from, members }: AppendItem): string => (changesMembers(members) ? CHANGES_OF_MEMBERS : from)

export interface AppendCall {
  keys: Written
  args: Written
}

/** @returns a function that writes the call of a batch */
export function createAppendCall(keys: Keys): (batch: Batch) => AppendCall {
  const partitionKeys = Array.from(
    { length: keys.partitions },
    (_, p) => write([keys.messages(p), keys.recent(p), keys.generation(p), keys.leapt(p)]).text,
  )

  function keysOf(batch: Batch, count: number): Written {
    let text = ''
    const folds: string[] = []
    for (const [{ partition }, items] of batch) {
      text += partitionKeys[partition]
      for (const { item, place } of items) {
        const { conversation, clientId } = item
        // Without a clientId there is no once-key, outside of rooms there are no members; their places are held by a key that is not read.
        const once =
          clientId === '' ? place.seq : write([keys.once(conversation, onceOwner(item), clientId, partition)]).text
        const members = item.members === undefined ? place.seq : write([keys.members(conversation, partition)]).text
        text += place.keys + once + members
        if (item.change) folds.push(keys.fold(conversation, partition))
        else if (item.collapseKey !== undefined) {
          folds.push(keys.fold(conversation, partition))
          folds.push(keys.collapse(conversation, item.from, item.collapseKey, partition))
        }
      }
    }
    const words = PARTITION_KEYS * batch.size + ITEM_KEYS * count
    if (folds.length === 0) return { words, text }
    return { words: words + folds.length, text: text + write(folds).text }
  }

  function argsOf(batch: Batch, count: number, lengthOf: (word: string) => number): Written {
    const sizes: number[] = [batch.size]
    for (const [{ generation }, items] of batch) sizes.push(items.length, generation)
    const { words, text: heads } = write(sizes)

    /** Place of the latest fold among the keys. */
    let foldKey = PARTITION_KEYS * batch.size + ITEM_KEYS * count
    function kindOf(item: AppendItem): string {
      if (item.change) return changeWords(item.change, ++foldKey)
      if (item.collapseKey === undefined) return flagsOf(item, '')
      foldKey += 2
      return flagsOf(item, `${foldKey - 1} `)
    }
    const word = (word: string): string => `$${lengthOf(word)}\r\n${word}\r\n`
    const argsOfItem = ({ item, place }: Waiting): string => {
      const { id, from, type, content, clientId, sentAt, trace } = item
      const digest = clientId === '' ? '' : digestsOf(item)
      const what = `${word(id)}${place.name}${word(from)}${word(type)}${word(kindOf(item))}`
      return `${what}${word(content)}${word(clientId)}${word(String(sentAt))}${word(trace)}${word(digest)}${word(ruleOf(item))}`
    }
    let text = heads
    for (const items of batch.values()) for (const one of items) text += argsOfItem(one)
    return { words: words + ITEM_ARGS * count, text }
  }

  return (batch) => {
    const count = countOf(batch)
    const args = argsOf(batch, count, ({ length }) => length)
    // As in `write`: where bytes are characters, nothing needs to be counted by itself.
    return {
      keys: keysOf(batch, count),
      args: isAscii(args.text) ? args : argsOf(batch, count, (word) => Buffer.byteLength(word)),
    }
  }
}
