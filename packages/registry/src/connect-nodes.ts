/** The connect nodes that etcd lists, to be called: a channel to each, made when it is first needed and kept while it is listed. */
import { connectRpc, nodeRpc, type RpcClient } from '@tidings/protocol'
import type { NodeInfo } from './registry.js'

type Rpc = RpcClient<typeof nodeRpc.NodeDefinition>

export interface ConnectNodes {
  /** In order. */
  names(): string[]
  /** @returns undefined when the node is not listed now */
  client(node: string): Rpc['client'] | undefined
  /** Those that there are now. */
  set(listed: ReadonlyMap<string, NodeInfo>): void
  stop(): void
}

export function createConnectNodes(rpcToken: string): ConnectNodes {
  const nodes = new Map<string, { info: NodeInfo; rpc?: Rpc }>()

  return {
    names: () => [...nodes.keys()].sort(),
    client(name) {
      const node = nodes.get(name)
      if (!node) return undefined
      node.rpc ??= connectRpc(nodeRpc.NodeDefinition, node.info.address, rpcToken)
      return node.rpc.client
    },
    set(listed) {
      for (const [name, { info, rpc }] of nodes) {
        if (listed.get(name)?.bootId === info.bootId) continue
        nodes.delete(name)
        rpc?.close()
      }
      for (const [name, info] of listed) if (!nodes.has(name)) nodes.set(name, { info })
    },
    stop() {
      for (const { rpc } of nodes.values()) rpc?.close()
      nodes.clear()
    },
  }
}
