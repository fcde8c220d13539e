import { ConfigError, databaseField, readConfig } from '@bazar/service';
import { type Static, Type } from '@sinclair/typebox';

const Config = Type.Object({
  DATA_DIR: Type.String({ default: './data', description: 'the folder of the CSV files' }),
  CATALOG_DATABASE_URL: databaseField(),
  ORDER_DATABASE_URL: databaseField(),
});

/** From where to where a shop is moved. */
export type MoveConfig = Required<Static<typeof Config>>;

/** @throws ConfigError with a sentence that names the variable */
export function readMoveConfig(env: NodeJS.ProcessEnv): MoveConfig {
  const {
    DATA_DIR,
    CATALOG_DATABASE_URL = missing('CATALOG_DATABASE_URL'),
    ORDER_DATABASE_URL = missing('ORDER_DATABASE_URL'),
  } = readConfig(Config, env);
  return { DATA_DIR, CATALOG_DATABASE_URL, ORDER_DATABASE_URL };
}

function missing(name: string): never {
  throw new ConfigError(
    `${name} (or ${name}_FILE) is not set, but has to be: a new PostgreSQL database, as ` +
      'postgres://user:password@host:5432/database.',
  );
}
