/**
 * What columns are made of. Ids are ascii_bin, so that MySQL compares them byte for byte as Redis and we do: `Alice` is not `alice`. People's
 * text is utf8mb4. Every column states its character set, whatever the server's default is.
 */
import { bigint, customType, datetime } from 'drizzle-orm/mysql-core'

export const ascii = customType<{ data: string; config: { length: number } }>({
  dataType: (config) => `varchar(${config?.length}) CHARACTER SET ascii COLLATE ascii_bin`,
})
/** Text of people: any Unicode, kept and compared as written. */
export const unicode = customType<{ data: string; config: { length: number } }>({
  dataType: (config) => `varchar(${config?.length}) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin`,
})
/** Not the JSON type: that would re-order keys and round numbers. The very text is kept. */
export const jsonText = customType<{ data: string }>({
  dataType: () => 'mediumtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin',
})
export const asciiText = customType<{ data: string }>({
  dataType: () => 'mediumtext CHARACTER SET ascii COLLATE ascii_bin',
})
/** 64 bits as a decimal string; a JavaScript number would round it. */
export const snowflake = customType<{ data: string }>({ dataType: () => 'bigint unsigned' })

export const userId = (name = 'user') => ascii(name, { length: 64 })
export const deviceName = (name = 'device') => ascii(name, { length: 64 })
/** The longest is `dm:` with two user ids. */
export const conversationId = (name = 'conversation') => ascii(name, { length: 140 })
export const count = (name: string) => bigint(name, { mode: 'number', unsigned: true })
export const moment = (name: string) => datetime(name, { mode: 'date', fsp: 3 })
