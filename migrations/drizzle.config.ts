import { defineConfig } from 'drizzle-kit'

/** `npm run generate --workspace=@tidings/migrations -- --name <what>` writes the next file from the difference to the schema. */
export default defineConfig({
  dialect: 'mysql',
  schema: '../packages/store/src/schema.ts',
  out: '.',
})
