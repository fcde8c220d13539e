import { listenFields, readConfig, urlsField } from '@bazar/service';
import { type Static, Type } from '@sinclair/typebox';

const { HOST, PORT, LOG_LEVEL } = listenFields({ port: 5000 });
const Config = Type.Object({
  HOST,
  PORT,
  LOG_LEVEL,
  GATEWAY_URLS: urlsField('http://127.0.0.1:5010'),
  METRICS_HOST: Type.String({
    default: '127.0.0.1',
    description: 'the address at which the front tells of itself',
  }),
  METRICS_PORT: Type.Optional(
    Type.Integer({
      minimum: 0,
      maximum: 65_535,
      description: 'the port at which the front tells of itself, 0 to 65535, 0 takes any free one',
    }),
  ),
});
export type Config = Static<typeof Config>;

/** @throws ConfigError with a sentence that names the variable */
export function readFrontConfig(env: NodeJS.ProcessEnv): Config {
  return readConfig(Config, env);
}
