/** The rules about what was changed: what was taken back is gone, what counts is shown, and nobody changes what is not theirs. Pure. */
import { groupBy } from '@tidings/service'
import { mayStand, type Truth, triedOn, truthsOf } from './folds.js'
import { type Indexed, keyOf, type Place, type Seen, type Send } from './indexed.js'
import type { Rule } from './rule.js'

/** Of a message that is found in a final read, and what its changes make of it. */
interface Final {
  place: Place
  seen: Seen
  send: Send
  truth: Truth | undefined
  /** Its edits in the same place. */
  edits: Seen[]
  what: string
}

function* finals(indexed: Indexed): Generator<Final> {
  const truths = truthsOf(indexed)
  for (const place of indexed.places)
    for (const [conv, { entries }] of place.kind === 'final' ? place.holdings : []) {
      const edits = groupBy(
        entries.filter(({ shown }) => shown.type === 'edit'),
        ({ shown }) => String(shown.target),
      )
      for (const seen of entries) {
        const send = indexed.sends.get(keyOf(conv, seen.from, seen.clientId))
        if (!send || send.doing) continue
        const what = `${seen.clientId} of ${conv} at ${seen.seq}`
        yield {
          place,
          seen,
          send,
          truth: truths.get(`${conv} ${seen.seq}`),
          edits: edits.get(String(seen.seq)) ?? [],
          what,
        }
      }
    }
}

export const recalled: Rule = {
  name: 'recalled',
  promise:
    'when all is settled, what was recalled is shown to no reader, nor its edits, and stands in no row; and nothing else is a stub',
  *check(indexed) {
    for (const { place, seen, truth, edits, what } of finals(indexed)) {
      if (truth?.recalledAt === undefined) {
        if (seen.shown.type === 'recalled') yield `${place.name} has ${what} as recalled, and no recall of it`
        continue
      }
      if (seen.bodyHash !== '') yield `${place.name} has the text of ${what}, which was recalled at ${truth.recalledAt}`
      else if (seen.shown.type !== 'recalled') yield `${place.name} does not say of ${what} that it was recalled`
      for (const { seq, bodyHash } of edits)
        if (bodyHash !== '') yield `${place.name} has the text of the edit at ${seq} of ${what}, which was recalled`
    }
  },
}

export const edited: Rule = {
  name: 'edited',
  promise:
    'when all is settled, a message says what its newest edit says, everywhere, and the text of older ones is gone',
  *check(indexed) {
    for (const { place, seen, send, truth, edits, what } of finals(indexed)) {
      // Of a recalled one nothing is left; that is the rule above.
      if (truth?.recalledAt !== undefined || seen.shown.type === 'recalled') continue
      const { seq, bodyHash } = truth?.edit ?? { seq: 0, bodyHash: send.bodyHash }
      if (seen.bodyHash !== bodyHash)
        yield `${place.name} has another text for ${what} than ${seq === 0 ? 'was sent' : `the edit at ${seq} says`}`
      for (const edit of edits) {
        if (edit.seq === seq && edit.bodyHash === '')
          yield `${place.name} lacks the text of the edit at ${seq} of ${what}`
        if (edit.seq !== seq && edit.bodyHash !== '')
          yield `${place.name} has the text of the edit at ${edit.seq} of ${what}, which that at ${seq} has replaced`
      }
    }
    yield* onDevices(indexed)
  },
}

/** A device that applies what it is shown, in its order, comes to the same text. */
function* onDevices(indexed: Indexed): Generator<string> {
  // A second copy of what a lost tail took is not applied again, and may stand behind a newer edit.
  if (indexed.plan.tailLost) return
  const truths = truthsOf(indexed)
  for (const { name, kind, holdings } of indexed.places)
    for (const [conv, { entries }] of kind === 'device' ? holdings : []) {
      const texts = new Map<number, string>()
      for (const { seq, bodyHash, shown } of entries) {
        if (shown.type === 'edit') {
          if (bodyHash !== '' && texts.has(shown.target!)) texts.set(shown.target!, bodyHash)
        } else if (shown.target === undefined) texts.set(seq, bodyHash)
      }
      for (const [seq, text] of texts) {
        const truth = truths.get(`${conv} ${seq}`)
        if (truth?.edit && truth.recalledAt === undefined && text !== truth.edit.bodyHash)
          yield `${name} was not given the text of the edit at ${truth.edit.seq} of ${conv} ${seq}`
      }
    }
}

export const reacted: Rule = {
  name: 'reacted',
  promise: 'when all is settled, a message has each reaction that was accepted and not taken back, once',
  *check(indexed) {
    for (const { place, seen, truth, what } of finals(indexed)) {
      const has = Object.entries(seen.shown.reactions ?? {}).flatMap(([emoji, users]) =>
        users.map((user) => `${emoji} ${user}`),
      )
      const wants = [...(truth?.reactions ?? [])]
      if (has.sort().join() !== wants.sort().join())
        yield `${place.name} has the reactions ${has.join(', ') || 'none'} on ${what}, and there should be ${wants.join(', ') || 'none'}`
    }
  },
}

/** Refusals that say: there is no such thing. */
const NOT_FOUND = new Set(['message_not_found', 'conversation_not_found', 'user_not_found'])

export const changes: Rule = {
  name: 'changes',
  promise:
    'whoever may change a message can, nobody else can, and nobody what was recalled; a change is about the message that it names',
  *check(indexed) {
    const { sends, plan, places } = indexed
    for (const { doing, conv, clientId, accepted, codes } of sends.values()) {
      if (!doing) continue
      if (doing.what !== 'push' && doing.forbidden) {
        if (accepted.length > 0) yield `${clientId} of ${conv} was accepted, a ${doing.what} by somebody who may not`
        continue
      }
      // What a lost tail took is not there until its sender has sent it again.
      const lost = !plan.tailLost && codes.find((code) => NOT_FOUND.has(code))
      if (lost) yield `${clientId} of ${conv} (${doing.what}) was refused with ${lost}`
    }
    // A recall that is on its way to MySQL when Redis forgets it is found by nobody meanwhile.
    if (!plan.voids)
      for (const [at, { recalledAt, log }] of truthsOf(indexed))
        for (const { seq, send } of log)
          if (recalledAt !== undefined && seq > recalledAt)
            yield `${send.clientId} at ${seq} changes ${at}, which was recalled at ${recalledAt}`
    if (plan.tailLost) return
    for (const { name, kind, holdings } of places)
      for (const [conv, { entries }] of kind === 'final' ? holdings : []) {
        const bySeq = new Map(entries.map((seen) => [seen.seq, seen]))
        for (const { seq, from, clientId, shown } of entries) {
          const doing = sends.get(keyOf(conv, from, clientId))?.doing
          const target = shown.target === undefined ? undefined : bySeq.get(shown.target)
          if (!target || !doing || doing.what === 'push') continue
          if (target.from !== doing.target.from || target.clientId !== doing.target.clientId)
            yield `${name} has ${clientId} of ${conv} at ${seq} as a change of ${target.clientId}, and it was one of ${doing.target.clientId}`
        }
      }
  },
}

const TYPES = { edit: 'edit', recall: 'recall', add: 'reaction', remove: 'reaction' } as const

/** Does an entry say what was sent, or what may have become of that? */
export function matcher(indexed: Indexed): (send: Send, seen: Seen) => boolean {
  const tried = triedOn(indexed)
  return (send, { bodyHash, shown: { type } }) => {
    const { doing } = send
    if (!doing) {
      const changes = (tried.get(send.key) ?? []).filter(mayStand)
      if (type === 'recalled') return changes.some((one) => one.doing?.what === 'recall')
      // One without a text and no stub is looked at by the rule about recalls.
      const texts = [send, ...changes.filter((one) => one.doing?.what === 'edit')].map((one) => one.bodyHash)
      return type === 'text' && (bodyHash === '' || texts.includes(bodyHash))
    }
    if (doing.what === 'push') {
      if (type === 'expired') return doing.ttl !== undefined
      if (type === 'collapsed') return doing.collapseKey !== undefined
      return type === 'system' && bodyHash === send.bodyHash
    }
    if (type !== TYPES[doing.what]) return false
    // An edit that counts no more has no text.
    return bodyHash === send.bodyHash || (doing.what === 'edit' && bodyHash === '')
  }
}
