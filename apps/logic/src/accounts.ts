/** Accounts with a password. */
import { AppError, type logicRpc } from '@tidings/protocol'
import { findUser, insertUser } from '@tidings/store'
import type { Broadcasts } from './broadcasts.js'
import { deviceOf, displayNameOf, passwordOf, userOf } from './input.js'
import type { Passwords } from './passwords.js'
import { openSession, type SessionDeps } from './sessions.js'
import { requireActive, toUser } from './users.js'

export interface AccountDeps extends SessionDeps {
  passwords: Passwords
  registration: 'open' | 'closed'
  broadcasts: Pick<Broadcasts, 'head'>
}

/** What is so of every new account. */
const NEW = { disabledAt: null, deletedAt: null, hasBlocks: false }

const taken = (): AppError => new AppError('username_taken', 'This user name is taken. Choose another one.')

/** @throws AppError `registration_closed`, `invalid_request`, `username_taken`, `overloaded`, `unavailable` */
export async function register(deps: AccountDeps, request: logicRpc.RegisterRequest): Promise<logicRpc.Grant> {
  if (deps.registration === 'closed') throw new AppError('registration_closed', 'Accounts are made elsewhere.')
  const id = userOf(request.username)
  const password = passwordOf(request.password)
  const displayName = displayNameOf(request.displayName || id)
  const since = deps.keptUsers.moment()
  // Only to spare the hash: whoever gets the name is decided by the insert.
  if (await findUser(deps.store, id)) throw taken()
  const user = { id, displayName, passwordHash: await deps.passwords.hash(password), createdAt: new Date() }
  if (!(await insertUser(deps.store, { ...user, feedStart: await deps.broadcasts.head() }))) throw taken()
  const made = { ...user, ...NEW }
  deps.keptUsers.keep([made], since)
  return openSession(deps, made, deviceOf(''))
}

/** @throws AppError `invalid_credentials`, `user_disabled`, `invalid_request`, `overloaded`, `unavailable` */
export async function login(deps: AccountDeps, request: logicRpc.LoginRequest): Promise<logicRpc.Grant> {
  const id = userOf(request.username)
  const password = passwordOf(request.password)
  const device = deviceOf(request.device)
  const since = deps.keptUsers.moment()
  const user = await findUser(deps.store, id)
  const known = user && !user.deletedAt ? user.passwordHash : undefined
  if (!(await deps.passwords.matches(password, known)) || !user) {
    throw new AppError('invalid_credentials', 'The user name or the password is wrong.')
  }
  requireActive(user)
  deps.keptUsers.keep([user], since)
  return openSession(deps, user, device)
}

/**
 * Makes an account in the name of a server or an operator: whether registration is open does not matter.
 * @throws AppError `invalid_request`, `username_taken`, `overloaded`, `unavailable`
 */
export async function makeUser(
  { store, passwords, broadcasts }: Pick<AccountDeps, 'store' | 'passwords' | 'broadcasts'>,
  request: logicRpc.MakeUserRequest,
): Promise<logicRpc.User> {
  const id = userOf(request.user)
  const password = request.password === '' ? undefined : passwordOf(request.password)
  const displayName = displayNameOf(request.displayName || id)
  if (await findUser(store, id)) throw taken()
  const passwordHash = password === undefined ? null : await passwords.hash(password)
  const user = { id, displayName, passwordHash, createdAt: new Date() }
  if (!(await insertUser(store, { ...user, feedStart: await broadcasts.head() }))) throw taken()
  return toUser({ ...user, ...NEW })
}
