import t from 'tap'
import { followConfig, readConfigText, writeConfigText } from '../src/index.js'
import { bench, log, until } from './etcd.js'

t.test('a document is told at the start and at every change, also when it is taken away', async (t) => {
  const b = await bench(t)
  const registry = await b.registry()
  const key = registry.keys.config('words')
  const seen: (string | undefined)[] = []
  const following = await followConfig(registry, 'words', (text) => seen.push(text), log)
  t.teardown(() => following.stop())
  t.same(seen, [undefined], 'before anybody wrote one')
  await b.etcd.put(`${key}-of-another`).value('x').exec()
  await writeConfigText(registry, 'words', 'one')
  await writeConfigText(registry, 'words', 'two')
  await until('both came', () => seen.length === 3)
  await b.etcd.delete().key(key).exec()
  await until('it is gone', () => seen.length === 4)
  t.same(seen, [undefined, 'one', 'two', undefined])
  t.equal(await readConfigText(registry, 'words'), undefined)
})
