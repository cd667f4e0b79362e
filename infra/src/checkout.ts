/** Where this checkout is: the folder that holds apps, packages and infra. */
import { fileURLToPath } from 'node:url'

export const checkout = fileURLToPath(new URL('../../../', import.meta.url)).replace(/\/$/, '')
