import { listenFields, readConfig, urlsField } from '@bazar/service';
import { type Static, Type } from '@sinclair/typebox';

const { HOST, PORT, LOG_LEVEL } = listenFields({ port: 5000 });
const Config = Type.Object({
  HOST,
  PORT,
  LOG_LEVEL,
  GATEWAY_URLS: urlsField('http://127.0.0.1:5010'),
});
export type Config = Static<typeof Config>;

/** @throws ConfigError with a sentence that names the variable */
export function readFrontConfig(env: NodeJS.ProcessEnv): Config {
  return readConfig(Config, env);
}
