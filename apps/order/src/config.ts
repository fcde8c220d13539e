import {
  databaseField,
  listenFields,
  readConfig,
  requireTokensOffLoopback,
  urlsField,
} from '@bazar/service';
import { type Static, Type } from '@sinclair/typebox';

const Config = Type.Object({
  ...listenFields({ port: 5002 }),
  DATA_DIR: Type.String({ default: './data', description: 'the folder of the CSV files' }),
  DATABASE_URL: databaseField(),
  CATALOG_URLS: urlsField('http://127.0.0.1:5001'),
});
export type Config = Static<typeof Config>;

/** @throws ConfigError with a sentence that names the variable */
export function readOrderConfig(env: NodeJS.ProcessEnv): Config {
  const config = readConfig(Config, env);
  requireTokensOffLoopback(config);
  return config;
}
