/** The RPC methods of webhooks and Web Push to functions; no rule is here. */
import type { logicRpc } from '@tidings/protocol'
import { deletePushSubscription, listPushSubscriptions, putPushSubscription } from './push-subscriptions.js'
import * as webhooks from './webhooks.js'

type Measured = <Request, Response>(
  name: string,
  run: (request: Request) => Promise<Response>,
) => (request: Request) => Promise<Response>

const nothing = async (done: Promise<void>) => {
  await done
  return {}
}

/** @param measured counts the calls of a method and how long they take */
export function hookMethods(deps: webhooks.HookDeps, measured: Measured) {
  return {
    createWebhook: measured('createWebhook', (request: logicRpc.CreateWebhookRequest) =>
      webhooks.createWebhook(deps, request),
    ),
    listWebhooks: measured('listWebhooks', (_request: logicRpc.ListWebhooksRequest) => webhooks.listWebhooks(deps)),
    updateWebhook: measured('updateWebhook', async (request: logicRpc.UpdateWebhookRequest) => ({
      webhook: await webhooks.updateWebhook(deps, request),
    })),
    deleteWebhook: measured('deleteWebhook', (request: logicRpc.DeleteWebhookRequest) =>
      nothing(webhooks.deleteWebhook(deps, request)),
    ),
    listDeadDeliveries: measured('listDeadDeliveries', (request: logicRpc.ListDeadDeliveriesRequest) =>
      webhooks.listDeadDeliveries(deps, request),
    ),
    retryDeliveries: measured('retryDeliveries', (request: logicRpc.RetryDeliveriesRequest) =>
      webhooks.retryDeliveries(deps, request),
    ),
    putPushSubscription: measured('putPushSubscription', async (request: logicRpc.PutPushSubscriptionRequest) => ({
      subscription: await putPushSubscription(deps, request),
    })),
    listPushSubscriptions: measured('listPushSubscriptions', (request: logicRpc.ListPushSubscriptionsRequest) =>
      listPushSubscriptions(deps, request),
    ),
    deletePushSubscription: measured('deletePushSubscription', (request: logicRpc.DeletePushSubscriptionRequest) =>
      nothing(deletePushSubscription(deps, request)),
    ),
  }
}
