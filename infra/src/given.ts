/** Stores that someone else runs: do they answer, and can the product work on them? */
import { Failure, reasonOf } from './failure.js'
import { withMysql } from './mysql.js'

/** What a look at a store found. `fail`: it cannot be used. `warn`: it can, and someone should know. */
export interface Finding {
  level: 'ok' | 'warn' | 'fail'
  text: string
}

/** Host and port of a URL, never its password. */
export function hostOf(url: string, defaultPort: number): string {
  const { hostname, port } = new URL(url)
  return `${hostname}:${port || defaultPort}`
}

/** A MySQL or MariaDB that answers, is strict and speaks utf8mb4. Rights and tables are the migration's to check. */
export async function lookAtMysql(url: string): Promise<Finding[]> {
  const where = `TIDINGS_MYSQL_URL: MySQL at ${hostOf(url, 3306)}`
  try {
    return await withMysql(url, async (connection) => {
      const [rows] = await connection.query(
        'select @@version version, @@sql_mode mode, @@character_set_database characters, @@read_only ro',
      )
      const row = (rows as unknown as Record<string, unknown>[])[0] ?? {}
      const findings: Finding[] = []
      if (!/STRICT_(TRANS|ALL)_TABLES/.test(String(row.mode))) {
        findings.push({
          level: 'fail',
          text: `${where} is not strict and would cut long values silently: add STRICT_TRANS_TABLES to its sql_mode.`,
        })
      }
      if (row.characters !== 'utf8mb4') {
        findings.push({
          level: 'fail',
          text: `${where}: the database uses ${String(row.characters)}: run ALTER DATABASE … CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci.`,
        })
      }
      if (Number(row.ro) === 1)
        findings.push({ level: 'fail', text: `${where} is read-only: give the URL of the primary.` })
      return findings.length > 0 ? findings : [{ level: 'ok', text: `${where}, version ${String(row.version)}` }]
    })
  } catch (error) {
    // Unknown database: the migration makes it where the user may.
    if ((error as { errno?: unknown }).errno === 1049)
      return [{ level: 'ok', text: `${where}: the database will be made by the migration` }]
    return [
      {
        level: 'fail',
        text: `${where} does not answer (${withoutSecret(reasonOf(error), url)}): start it, or correct the URL.`,
      },
    ]
  }
}

/** An etcd that is healthy, at any of its endpoints. */
export async function lookAtEtcd(urls: readonly string[]): Promise<Finding[]> {
  const findings = await Promise.all(urls.map(lookAtEndpoint))
  const healthy = findings.filter((finding) => finding.level === 'ok')
  // One member of several may be down: that is what several are for.
  return healthy.length === 0
    ? findings
    : findings.map((finding) => (finding.level === 'fail' ? { ...finding, level: 'warn' as const } : finding))
}

async function lookAtEndpoint(url: string): Promise<Finding> {
  const where = `TIDINGS_ETCD_URL: etcd at ${hostOf(url, 2379)}`
  try {
    const [health, version] = await Promise.all(
      ['/health', '/version'].map(
        async (path) =>
          (await fetch(new URL(path, url), { signal: AbortSignal.timeout(2_000) })).json() as Promise<
            Record<string, unknown>
          >,
      ),
    )
    if (String(health?.health) !== 'true') throw new Failure('it says that it is not healthy')
    if (typeof version?.etcdserver !== 'string') throw new Failure('it is not an etcd')
    return { level: 'ok', text: `${where}, version ${version.etcdserver}` }
  } catch (error) {
    return {
      level: 'fail',
      text: `${where} does not answer (${withoutSecret(reasonOf(error), url)}): start it, or correct the URL.`,
    }
  }
}

/** Takes a password out of a text that a driver may have put it into. */
export function withoutSecret(text: string, url: string): string {
  const { password } = new URL(url)
  return [password, decodeURIComponent(password)]
    .filter(Boolean)
    .reduce((clean, secret) => clean.replaceAll(secret, '(hidden)'), text)
}
