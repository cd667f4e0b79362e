/** The rules about order, privacy and honest answers. Pure. */
import { groupBy } from '@tidings/service'
import { holesIn, type Indexed, told } from './indexed.js'
import type { Rule } from './rule.js'

export const rising: Rule = {
  name: 'rising',
  promise: 'a device that drops what it has shown shows seqs in rising order, and nothing twice',
  *check({ places }) {
    for (const { name, kind, holdings } of places) {
      if (kind !== 'device') continue
      for (const [conv, { entries }] of holdings) {
        const shown = new Set<string>()
        let last = 0
        for (const { seq, id, from, clientId } of entries) {
          const message = `${from} ${clientId || id}`
          if (seq <= last) yield `${name} showed ${conv} ${seq} after ${last}`
          last = Math.max(last, seq)
          if (shown.has(message)) yield `${name} showed ${clientId} of ${conv} twice, the second at ${seq}`
          shown.add(message)
        }
      }
    }
  },
}

export const realTime: Rule = {
  name: 'real time',
  promise: 'what was accepted before another send began stands before it',
  *check({ sends, plan }) {
    // What a lost tail took is sent again, behind what came meanwhile.
    if (plan.tailLost) return
    const byConv = groupBy(
      // A push that is nowhere has no place.
      [...sends.values()].filter(({ accepted }) => accepted.length > 0 && !Number.isNaN(accepted[0]!.seq)),
      ({ conv }) => conv,
    )
    for (const [conv, ofConv] of byConv) {
      const began = [...ofConv].sort((a, b) => a.invokedAt - b.invokedAt)
      const ended = [...ofConv].sort((a, b) => a.accepted[0]!.mono - b.accepted[0]!.mono)
      let highest = 0
      let next = 0
      for (const send of began) {
        for (; next < ended.length && ended[next]!.accepted[0]!.mono < send.invokedAt; next++)
          highest = Math.max(highest, ended[next]!.accepted[0]!.seq)
        if (send.accepted[0]!.seq < highest)
          yield `${send.clientId} of ${conv} has seq ${send.accepted[0]!.seq}, and ${highest} was accepted before it was sent`
      }
    }
  },
}

export const privacy: Rule = {
  name: 'privacy',
  promise: 'nobody outside a conversation gets anything of it',
  *check({ events, plan }) {
    for (const { f, proc, user, conv, seq, detail } of events) {
      if (f === 'canary') yield `${proc}: text of ${conv} where it has no business: ${detail ?? ''}`
      if ((f === 'recv' || f === 'read' || f === 'page') && user !== undefined && !plan.members[conv!]?.includes(user))
        yield `${proc} (${user}) got ${conv} ${seq ?? ''}`
    }
  },
}

/** What a client was told when it paged a conversation. */
export interface PageLine {
  after: number
  limit: number
  complete: boolean
  head: number
  seqs: number[]
  voids: [number, number][]
  /** When it was asked for. */
  invokedAt: number
}

export const honestPages: Rule = {
  name: 'honest pages',
  promise: 'a page that calls itself complete is: an error is never shown as “nothing there”',
  *check({ events, sends, plan }) {
    const accepted = groupBy(
      [...sends.values()].flatMap(({ conv, accepted }) => accepted.map(({ mono, seq }) => ({ conv, mono, seq }))),
      ({ conv }) => conv,
    )
    for (const { f, proc, conv = '', data } of events) {
      if (f !== 'page') continue
      const { after, limit, complete, head, seqs, voids, invokedAt } = data as PageLine
      const known = (accepted.get(conv) ?? []).reduce(
        (most, { mono, seq }) => (mono < invokedAt && seq > most ? seq : most),
        0,
      )
      if (!plan.tailLost && head < known)
        yield `${proc} was told that ${conv} ends at ${head}, and ${known} was accepted before`
      if (!complete) continue
      // What a lost tail took with it was accepted, and is beyond the head.
      const last = plan.tailLost ? head : Math.max(head, known)
      const end = seqs.length < limit ? last : seqs.at(-1)!
      const missing = holesIn(after + 1, end, seqs, voids)
      if (missing.length > 0)
        yield `${proc} got a page of ${conv} after ${after} that calls itself complete and lacks ${told(missing)}`
    }
  },
}

export const deadLetters: Rule = {
  name: 'dead letters',
  promise: 'nothing is set aside but what can never succeed',
  *check({ events, poisonNames }: Indexed) {
    for (const { f, proc, clientId = '', id = '', conv, seq, detail } of events)
      if (f === 'dead' && !poisonNames.has(clientId) && !poisonNames.has(id))
        yield `${proc} holds ${clientId || id} of ${conv} ${seq ?? ''}: ${detail ?? ''}`
  },
}
