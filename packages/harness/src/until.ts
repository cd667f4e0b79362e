/** Waits for a fact, never for time. */
export async function until(what: string, check: () => unknown, withinMs = 30_000): Promise<void> {
  const end = performance.now() + withinMs
  for (;;) {
    if (await check()) return
    if (performance.now() > end) throw new Error(`never came true: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
