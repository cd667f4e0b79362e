/**
 * Values as they stand in a statement, for the one statement that is long: it names thousands of them. The driver's own quoting escapes
 * every double quote, of which JSON is full, and the server takes each back. All other statements have placeholders.
 */
import { raw } from 'mysql2'

/** What ends a literal, or escapes in it: backslashes do, see SESSION_STATEMENTS in db.ts. */
const SPECIAL = /['\\]/
const EACH_SPECIAL = /['\\]/g

/** @returns the text in single quotes */
export const literal = (text: string): string =>
  SPECIAL.test(text) ? `'${text.replace(EACH_SPECIAL, '\\$&')}'` : `'${text}'`

/** A value for a placeholder that stands in the statement as it is. @param sql made of literals and numbers alone */
export const asIs = (sql: string): unknown => raw(sql)
