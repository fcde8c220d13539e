import { listenFields, readConfig, refuseUnbuilt, requireTokensOffLoopback } from '@bazar/service';
import { type Static, Type } from '@sinclair/typebox';

const Config = Type.Object({
  ...listenFields({ port: 5001 }),
  DATA_DIR: Type.String({ default: './data', description: 'the folder of the CSV files' }),
});
export type Config = Static<typeof Config>;

/** @throws ConfigError with a sentence that names the variable */
export function readCatalogConfig(env: NodeJS.ProcessEnv): Config {
  refuseUnbuilt(env, { DATABASE_URL: 'the books cannot be kept in PostgreSQL yet' });
  const config = readConfig(Config, env);
  requireTokensOffLoopback(config);
  return config;
}
