/** A change of a room: decided and committed in MySQL, then told in the room's log. */
import { AppError, type Role } from '@tidings/protocol'
import { changeRoom, type HeldRoom, outboxHas, type RoomRow, roomConversation, type Store } from '@tidings/store'
import type { Outbox } from '../outbox.js'
import { requireActive } from '../users.js'
import { toWrite } from './events.js'
import { type Known, type Plan, roomNotFound } from './rules.js'

export interface RoomDeps {
  store: Store
  outbox: Outbox
}

/** A room as it is after a change, and what the one who acted is in it. */
export interface Changed {
  room: RoomRow
  role: Role | ''
}

/**
 * @param concerned whom it is about, beside the one who acts
 * @param decide sees the room as nobody else can change it
 * @throws AppError `room_not_found`, `user_disabled`; what `decide` throws; `outcome_unknown` when it is committed and not told yet;
 * `unavailable`
 */
export async function change(
  { store, outbox }: RoomDeps,
  act: { room: string; by: string; concerned?: readonly string[] },
  decide: (known: Known) => Plan | undefined,
): Promise<Changed> {
  const { room, by, concerned = [] } = act
  const changed = await changeRoom(store, room, async (held) => {
    const known = await readKnown(held, by, concerned)
    const plan = decide(known)
    const role = roleAfter(known, plan)
    return { role, room: plan ? await apply(held, plan, by) : held.row }
  })
  if (!changed) throw roomNotFound()
  // Also when nothing had to be changed: it may repeat one that was not told yet.
  await tell(outbox, room)
  return changed
}

/** As `change`, for what only bans or lifts a ban: nobody is told. @throws AppError as `change` does */
export async function changeBans(
  { store }: RoomDeps,
  act: { room: string; by: string; user: string },
  decide: (known: Known, held: HeldRoom) => Promise<void>,
): Promise<void> {
  const done = await changeRoom(store, act.room, async (held) => {
    await decide(await readKnown(held, act.by, [act.user]), held)
    return true
  })
  if (!done) throw roomNotFound()
}

/**
 * Runs a change after which the room is not there for the one who acts: a repetition, while the first is on its way, is no error.
 * @param words what the first may be called in its entry
 */
export async function repeatable(
  { store, outbox }: RoomDeps,
  act: { room: string; by: string },
  words: readonly string[],
  run: () => Promise<unknown>,
): Promise<void> {
  try {
    await run()
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== 'room_not_found') throw error
    const conversation = roomConversation(act.room)
    for (const word of words) {
      if (await outboxHas(store, conversation, act.by, word)) return tell(outbox, act.room)
    }
    throw error
  }
}

/** @throws AppError `outcome_unknown` */
export async function tell(outbox: Outbox, room: string): Promise<void> {
  try {
    await outbox.drain(roomConversation(room))
  } catch (cause) {
    throw new AppError('outcome_unknown', 'The change is made, and is told to the room as soon as possible.', {
      cause,
      retryAfter: 1,
    })
  }
}

async function readKnown(held: HeldRoom, by: string, concerned: readonly string[]): Promise<Known> {
  const names = [...new Set([by, ...concerned])]
  const members = await held.members(names)
  const users = await held.users(names)
  const actor = users.get(by)
  if (!actor) throw new AppError('user_not_found', 'There is no such user.')
  requireActive(actor)
  const outside = names.filter((user) => !members.has(user))
  const successor = members.get(by)?.role === 'owner' ? await held.successor(by) : undefined
  return {
    ...{ room: held.row, by, members, users },
    banned: await held.banned(names),
    roomsOf: await held.roomsOf(outside),
    ...(successor && { successor }),
  }
}

function roleAfter({ members, by }: Known, plan: Plan | undefined): Role | '' {
  if (plan?.ended || plan?.remove?.includes(by)) return ''
  const given = [...(plan?.add ?? []), ...(plan?.set ?? [])].find(({ user }) => user === by)
  return given?.role ?? members.get(by)?.role ?? ''
}

async function apply(held: HeldRoom, plan: Plan, by: string): Promise<RoomRow> {
  const now = new Date()
  if (plan.ban) await held.ban(plan.ban, by, now)
  const told = plan.add ?? plan.set ?? plan.remove ?? plan.room ?? plan.ended
  return told === undefined ? held.row : held.write(toWrite(plan, held.row, by, now))
}
