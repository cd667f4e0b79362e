import t from 'tap'
import { remembered } from '../src/remembered.js'

t.test('answers are kept while their names come, and a bounded number of them', (t) => {
  const asked: string[] = []
  const lengthOf = remembered((name) => {
    asked.push(name)
    return name === '' ? undefined : name.length
  }, 2)
  const take = (...names: string[]): unknown[] => [names.map(lengthOf), asked.splice(0)]
  t.same(take('a', 'bb', 'a', 'bb'), [
    [1, 2, 1, 2],
    ['a', 'bb'],
  ])
  t.same(take('ccc', 'a'), [[3, 1], ['ccc']], 'those before the latest two are still known')
  t.same(
    take('dddd', 'eeeee', 'bb'),
    [
      [4, 5, 2],
      ['dddd', 'eeeee', 'bb'],
    ],
    'and those before them are not',
  )
  t.same(
    take('', ''),
    [
      [undefined, undefined],
      ['', ''],
    ],
    'what stands for nothing is not kept',
  )
  t.end()
})
