/** A curve as a picture: an SVG of lines and words, nothing else. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { COLUMNS } from './columns.js'
import type { CurveFigures } from './figures.js'
import { speedsOf } from './speed.js'

const WIDTH = 720
const HEIGHT = 380
const AREA = { left: 64, right: 590, top: 44, bottom: 320 }
const TICKS = 5
const COLOURS: Record<string, string> = {
  total: '#111111',
  api: '#1f6fb4',
  logic: '#8c6bb1',
  task: '#d95f0e',
  connect: '#2b8a3e',
  redis: '#c92a2a',
  mysql: '#7f5539',
  etcd: '#868e96',
}

interface Line {
  name: string
  values: number[]
}

/** Writes `<curve>.svg` into the folder. */
export function writePlot(folder: string, curve: CurveFigures): void {
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, `${curve.curve}.svg`), plotOf(curve))
}

/** CPU per message or delivery, all processes and each, over what was varied. */
export function plotOf({ curve, axis, unit = 'message', points }: CurveFigures): string {
  const speeds = speedsOf(points)
  const lines: Line[] = [
    { name: 'total', values: points.map(({ run }, i) => run.cpuTotal * speeds[i]!) },
    ...COLUMNS.map((name) => ({ name, values: points.map(({ run }, i) => (run.cpu[name] ?? 0) * speeds[i]!) })),
  ]
  const step = stepOf(Math.max(...lines[0]!.values))
  const most = step * TICKS
  const xs = places(points.map(({ at }) => at))
  const y = (value: number): number => AREA.bottom - (value / most) * (AREA.bottom - AREA.top)
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12">`,
    `<title>${curve}: CPU per ${unit} over ${axis}</title>`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#ffffff"/>`,
    text(AREA.left, 22, `CPU us/${unit}, all processes and each`, { anchor: 'start', size: 14 }),
    ...Array.from({ length: TICKS + 1 }, (_, i) => tick(y(i * step), String(i * step))),
    ...points.map(({ at }, i) => text(xs[i]!, AREA.bottom + 18, label(at))),
    text((AREA.left + AREA.right) / 2, HEIGHT - 14, axis, { size: 13 }),
    ...lines.map(({ name, values }) =>
      line(
        name,
        values.map((value, i) => [xs[i]!, y(value)] as const),
      ),
    ),
    ...legend(lines, y),
    '</svg>',
  ]
  return `${parts.join('\n')}\n`
}

/** Where values stand on a logarithmic axis. Nothing at all stands one decade below the least of the others. */
function places(values: readonly number[]): number[] {
  const logs = values.map((value) => (value > 0 ? Math.log10(value) : Number.NaN))
  const known = logs.filter((value) => !Number.isNaN(value))
  const all = logs.map((value) => (Number.isNaN(value) ? Math.min(...known) - 1 : value))
  const [from, to] = [Math.min(...all), Math.max(...all)]
  return all.map((value) => AREA.left + 24 + ((value - from) / (to - from || 1)) * (AREA.right - AREA.left - 48))
}

/** A round distance between ticks, so that the most is below the last one. */
function stepOf(most: number): number {
  const least = most / TICKS || 1
  const power = 10 ** Math.floor(Math.log10(least))
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((digit) => digit * power).find((step) => step >= least)!
}

const label = (at: number): string =>
  at >= 1_000_000 ? `${trim(at / 1_000_000)} M` : at >= 10_000 ? `${trim(at / 1_000)} k` : String(at)
const trim = (value: number): string => value.toFixed(1).replace(/\.0$/, '')

const tick = (y: number, value: string): string =>
  `<line x1="${AREA.left}" x2="${AREA.right}" y1="${y.toFixed(1)}" y2="${y.toFixed(1)}" stroke="#dddddd"/>${text(AREA.left - 8, y + 4, value, { anchor: 'end' })}`

function line(name: string, points: readonly (readonly [number, number])[]): string {
  const colour = COLOURS[name]!
  const path = points.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(' ')
  const dots = points.map(([x, y]) => `<circle cx="${x.toFixed(1)}" cy="${y.toFixed(1)}" r="3" fill="${colour}"/>`)
  const width = name === 'total' ? 2.5 : 1.5
  return `<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="${width}"/>${dots.join('')}`
}

/** Names at the right, each at the height of its line's end, moved apart where they would overlap. */
function legend(lines: readonly Line[], y: (value: number) => number): string[] {
  const ends = lines.map(({ name, values }) => ({ name, at: y(values.at(-1) ?? 0) })).sort((a, b) => b.at - a.at)
  let below = Number.POSITIVE_INFINITY
  return ends.map(({ name, at }) => {
    below = Math.min(at, below - 14)
    return text(AREA.right + 12, below + 4, name, { anchor: 'start', colour: COLOURS[name]! })
  })
}

function text(
  x: number,
  y: number,
  words: string,
  { anchor = 'middle', size = 12, colour = '#333333' }: { anchor?: string; size?: number; colour?: string } = {},
): string {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}" font-size="${size}" fill="${colour}">${words}</text>`
}
