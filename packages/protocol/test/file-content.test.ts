import t from 'tap'
import { AppError, fileClaims } from '../src/index.js'

const ID = 'AbCdEfGhIjKlMnOpQrSt_-'
const image = (over: Record<string, unknown> = {}): string =>
  JSON.stringify({ url: `/api/v1/files/${ID}`, size: 5, mediaType: 'image/png', name: 'cat.png', ...over })

t.test('an uploaded file is named with what is said of it, its thumbnail too', async (t) => {
  t.same(fileClaims('image', image()), [{ id: ID, size: 5, mediaType: 'image/png', pointer: '/content' }])
  const thumbnail = { url: `/api/v1/files/${ID}`, width: 10, height: 10 }
  t.same(fileClaims('image', image({ url: 'https://example.com/cat.png', thumbnail })), [
    { id: ID, size: undefined, mediaType: '', pointer: '/content/thumbnail' },
  ])
  t.same(fileClaims('file', image({ url: 'https://example.com/a?b=c#d', mediaType: 'text/csv', caption: 'mine' })), [])
  t.same(fileClaims('file', image({ url: 'http://127.0.0.1:9000/x', mediaType: 'a/b' })), [])
})

t.test('what is not described as it must be is refused, with a pointer to each fault', async (t) => {
  const cases: [string, Record<string, unknown>, string][] = [
    ...[
      undefined,
      7,
      '',
      '/api/v1/files/short',
      `/api/v1/files/${ID}?x=1`,
      `/api/v1/files/../files/${ID}`,
      'http://example.com/cat.png',
      'https://user:pass@example.com/',
      'https://exa mple.com/',
      'https://example.com\\evil',
      'https://example.com/é',
      'javascript:alert(1)',
      'data:image/png;base64,AA==',
      '//example.com/x',
      `https://example.com/${'x'.repeat(2_048)}`,
    ].map((url): [string, Record<string, unknown>, string] => ['image', { url }, '/content/url']),
    ...[undefined, -1, 1.5, '5', 1e300].map((size): [string, Record<string, unknown>, string] => [
      'file',
      { size },
      '/content/size',
    ]),
    ...[undefined, 'png', 'Image/PNG', 'image/png; x=1', 'text/plain'].map(
      (mediaType): [string, Record<string, unknown>, string] => ['image', { mediaType }, '/content/mediaType'],
    ),
    ...[undefined, '', ' ', 'a/b', 'a\\b', 'a\u0000', 'gnp\u202E.exe', 'x'.repeat(256)].map(
      (name): [string, Record<string, unknown>, string] => ['file', { name }, '/content/name'],
    ),
    ['image', { width: 0 }, '/content/width'],
    ['image', { height: 1.5 }, '/content/height'],
    ['image', { thumbnail: 'x' }, '/content/thumbnail'],
    ['image', { thumbnail: { url: 'ftp://x/' } }, '/content/thumbnail/url'],
    ['image', { thumbnail: { url: 'https://x/', mediaType: 'video/mp4' } }, '/content/thumbnail/mediaType'],
  ]
  for (const [type, over, pointer] of cases) {
    const about = JSON.stringify(over).slice(0, 80)
    try {
      fileClaims(type, image(over))
      t.fail(about)
    } catch (error) {
      t.ok(error instanceof AppError, about)
      t.match(error, { code: 'invalid_content', details: { errors: [{ pointer }] } }, about)
    }
  }
  try {
    fileClaims('file', '{}')
    t.fail('all at once')
  } catch (error) {
    t.equal((error as { details: { errors: unknown[] } }).details.errors.length, 4, 'all at once')
  }
})
