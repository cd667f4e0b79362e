/**
 * The calls of operators. Whatever is added here is behind the gate: signed, from a listed address, seen once, its changes in the log.
 * Add a file of routes below, under /admin/, with `SIGNED` as its security and `ADMIN_CODES` among its problems.
 */
import { createAdminGate } from '../admin/gate.js'
import type { Api, ApiDeps } from '../api.js'
import { adminAccountRoutes } from './accounts.js'
import { adminClusterRoutes } from './admin-cluster.js'
import { adminDeadRoutes } from './admin-dead.js'
import { adminInspectRoutes } from './admin-inspect.js'
import { adminLimitRoutes } from './admin-limits.js'
import { adminSessionRoutes } from './admin-sessions.js'
import { adminWordRoutes } from './admin-words.js'
import { adminDeviceRoutes } from './devices.js'

export function adminRoutes(app: Api, deps: ApiDeps): void {
  const { settings, nonces, rates, log } = deps
  const { adminKeys, adminAddresses, trustProxy } = settings
  const gate = createAdminGate({ keys: adminKeys, addresses: adminAddresses, trustProxy, nonces, rates, log })
  app.decorateRequest('operator', '')
  // In a scope of its own: the hooks are those of these routes alone.
  app.register((scope, _options, done) => {
    scope.addHook('onRequest', gate.onRequest)
    scope.addHook('preParsing', gate.preParsing)
    scope.addHook('onResponse', gate.onResponse)
    // Operators act most when there is too much of everything.
    scope.addHook('onRoute', (route) => {
      route.config = { ...route.config, neverShed: true }
    })
    adminClusterRoutes(scope, deps)
    adminWordRoutes(scope, deps)
    adminDeadRoutes(scope, deps)
    adminSessionRoutes(scope, deps)
    adminAccountRoutes(scope, deps)
    adminDeviceRoutes(scope, deps)
    adminInspectRoutes(scope, deps)
    adminLimitRoutes(scope, deps)
    done()
  })
}
