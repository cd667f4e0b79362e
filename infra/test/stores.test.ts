import { mkdirSync, symlinkSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { Redis } from 'ioredis'
import { createConnection } from 'mysql2/promise'
import { test } from 'tap'
import { checkout } from '../src/checkout.js'
import { lookAtEtcd, lookAtMysql } from '../src/given.js'
import { lookAtRedis } from '../src/given-redis.js'
import { startEtcd, startMysql, startRedis } from '../src/index.js'
import { findBinaries } from '../src/packages.js'
import { checkReady } from '../src/plan.js'
import { folder } from './world.js'

test('a Redis of one’s own survives a kill with its data, and says what it is', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  t.match(await lookAtRedis(redis.url), [
    { level: 'ok', text: /^TIDINGS_REDIS_URL: Redis at 127\.0\.0\.1:\d+, version 7/ },
  ])
  const client = new Redis(redis.url)
  client.on('error', () => undefined)
  t.teardown(() => client.disconnect())
  await client.set('key', 'value')
  const before = redis.pid
  await redis.kill()
  t.match(await lookAtRedis(redis.url), [{ level: 'fail' }])
  await redis.restart()
  t.not(redis.pid, before)
  t.equal(await client.get('key'), 'value')
})

test('a Redis that evicts is refused, one without an append-only file is warned about', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const client = new Redis(redis.url)
  t.teardown(() => client.disconnect())
  await client.config('SET', 'appendonly', 'no')
  t.match(await lookAtRedis(redis.url), [{ level: 'warn', text: /append-only/ }, { level: 'ok' }])
  await client.config('SET', 'maxmemory-policy', 'allkeys-lru')
  t.match(await lookAtRedis(redis.url), [{ level: 'fail', text: /noeviction/ }, { level: 'warn' }])
})

test('a MariaDB of one’s own is strict, speaks utf8mb4, and lets its user make databases', async (t) => {
  const mysql = await startMysql()
  t.teardown(() => mysql.stop())
  t.match(await lookAtMysql(mysql.url), [{ level: 'ok' }])
  const connection = await createConnection(mysql.url)
  await connection.query('create database other')
  await connection.query('create table other.one (id int primary key, text varchar(10))')
  await connection.query("insert into other.one values (1, '😀')")
  await mysql.kill()
  connection.destroy()
  await mysql.restart()
  const again = await createConnection(mysql.url)
  t.teardown(() => again.destroy())
  t.match(await again.query('select text from other.one'), [[{ text: '😀' }]])
})

test('a MariaDB that is not strict is refused', async (t) => {
  const mysql = await startMysql()
  t.teardown(() => mysql.stop())
  const connection = await createConnection(mysql.url)
  t.teardown(() => connection.destroy())
  await connection.query("set global sql_mode = ''")
  t.match(await lookAtMysql(mysql.url), [{ level: 'fail', text: /sql_mode/ }])
})

test('an etcd of one’s own is healthy, and of several endpoints one that answers is enough', async (t) => {
  const etcd = await startEtcd()
  t.teardown(() => etcd.stop())
  t.match(await lookAtEtcd([etcd.url]), [{ level: 'ok' }])
  t.match(await lookAtEtcd([etcd.url, 'http://127.0.0.1:1']), [{ level: 'ok' }, { level: 'warn' }])
  await t.rejects(checkReady(etcd.url), { message: '/readyz answers 404' })
  await etcd.kill()
  t.match(await lookAtEtcd([etcd.url]), [{ level: 'fail', text: /does not answer/ }])
})

test('a MariaDB lives in a folder with a blank in its name, and so may its programs', async (t) => {
  const dir = join(folder(t), 'a b')
  mkdirSync(dir)
  const programs = await findBinaries(checkout, () => undefined)
  const { basedir } = programs.mysql
  if (basedir) symlinkSync(dirname(basedir), join(dir, 'pkgs'))
  const place = basedir ? { ...programs.mysql, basedir: join(dir, 'pkgs', basename(basedir)) } : programs.mysql
  const mysql = await startMysql({ dir, programs: { ...programs, mysql: place } })
  t.teardown(() => mysql.stop())
  t.match(await lookAtMysql(mysql.url), [{ level: 'ok' }])
})
