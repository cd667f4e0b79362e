/** A Redis that someone else runs: one server, a primary behind sentinels, or a cluster. Can the product work on it? */
import { parseInfo, parseRedisUrl, type RedisAddress, type RedisUrl, redisFaults } from '@tidings/service'
import { reasonOf } from './failure.js'
import { type Finding, withoutSecret } from './given.js'
import { withRedis } from './redis.js'

/** Each server must be of version 7 and evict nothing; a primary must be there. One without an append-only file forgets at a crash. */
export async function lookAtRedis(url: string): Promise<Finding[]> {
  const target = parseRedisUrl(url)
  if (!target) return [{ level: 'fail', text: 'TIDINGS_REDIS_URL is not the URL of a Redis.' }]
  if (target.kind === 'single') return await lookAtServer(url, target.addresses[0]!, 'primary')
  if (target.kind === 'sentinel') return await lookBehindSentinels(target)
  const findings = await Promise.all(
    target.addresses.map((address) => lookAtServer(urlOf(target, address), address, 'node')),
  )
  // One node may be down: that is what a cluster is for.
  const away = ({ level, text }: Finding): boolean => level === 'fail' && text.includes('does not answer')
  const some = findings.flat().some(({ level }) => level === 'ok')
  return findings.flat().map((finding) => (some && away(finding) ? { ...finding, level: 'warn' } : finding))
}

async function lookBehindSentinels(target: RedisUrl): Promise<Finding[]> {
  const reasons: string[] = []
  for (const address of target.addresses) {
    try {
      const named = await withRedis(urlOf({ ...target, username: undefined, password: undefined }, address), (client) =>
        client.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', target.primary),
      )
      if (!Array.isArray(named)) throw new Error(`it does not know a primary called ${target.primary}`)
      const primary = { host: String(named[0]), port: Number(named[1]) }
      return await lookAtServer(urlOf(target, primary), primary, 'primary')
    } catch (error) {
      reasons.push(`${nameOf(address)}: ${reasonOf(error)}`)
    }
  }
  return [{ level: 'fail', text: `TIDINGS_REDIS_URL: no sentinel names a primary (${reasons.join('; ')}).` }]
}

/** @param as what it is to be: a primary, or a node of a cluster of whatever role */
async function lookAtServer(url: string, address: RedisAddress, as: 'primary' | 'node'): Promise<Finding[]> {
  const where = `TIDINGS_REDIS_URL: Redis at ${nameOf(address)}`
  let facts: Map<string, string>
  try {
    facts = parseInfo(await withRedis(url, (client) => client.info()))
  } catch (error) {
    return [
      {
        level: 'fail',
        text: `${where} does not answer (${withoutSecret(reasonOf(error), url)}): start it, or correct the URL.`,
      },
    ]
  }
  const faults = redisFaults(as === 'node' ? new Map([...facts, ['role', 'master']]) : facts)
  if (as === 'primary' && facts.get('cluster_enabled') === '1')
    faults.push('is a node of a cluster: begin the URL with redis+cluster://.')
  if (as === 'node' && facts.get('cluster_enabled') !== '1')
    faults.push('is no node of a cluster: begin the URL with redis://.')
  const findings: Finding[] = faults.map((fault) => ({ level: 'fail', text: `${where} ${fault}` }))
  if (facts.get('aof_enabled') === '0') {
    findings.push({
      level: 'warn',
      text: `${where} keeps no append-only file: accepted messages are lost when it crashes; run CONFIG SET appendonly yes.`,
    })
  }
  return findings.some((finding) => finding.level === 'fail')
    ? findings
    : [...findings, { level: 'ok', text: `${where}, version ${facts.get('redis_version') ?? 'unknown'}` }]
}

const nameOf = ({ host, port }: RedisAddress): string => `${host}:${port}`

function urlOf({ tls, username = '', password = '' }: RedisUrl, { host, port }: RedisAddress): string {
  const login = username || password ? `${encodeURIComponent(username)}:${encodeURIComponent(password)}@` : ''
  return `redis${tls ? 's' : ''}://${login}${host.includes(':') ? `[${host}]` : host}:${port}`
}
