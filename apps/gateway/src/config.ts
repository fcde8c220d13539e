import {
  addressesField,
  ConfigError,
  isLoopback,
  listenFields,
  readConfig,
  requireTokensOffLoopback,
  urlField,
  urlsField,
} from '@bazar/service';
import { type Static, Type } from '@sinclair/typebox';

const Config = Type.Object({
  ...listenFields({ port: 5000 }),
  CATALOG_URLS: urlsField('http://127.0.0.1:5001'),
  ORDER_URLS: urlsField('http://127.0.0.1:5002'),
  PUBLIC_URL: Type.Optional(
    urlField('where the catalogs reach this gateway, such as http://gateway:5000'),
  ),
  RATE_LIMIT: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: 1_000_000,
      description: 'requests a second per address, a whole number from 1',
    }),
  ),
  TRUST_PROXY: Type.Optional(
    addressesField(
      'addresses and ranges such as 10.0.0.7,192.168.0.0/16 of proxies whose X-Forwarded-For is believed',
    ),
  ),
  CORS_ORIGINS: Type.Optional(
    Type.String({
      pattern: '^https?://[^\\s,/]+( *, *https?://[^\\s,/]+)*$',
      description: 'origins such as https://shop.example, separated by commas',
    }),
  ),
});
export type Config = Static<typeof Config>;

/** @throws ConfigError with a sentence that names the variable */
export function readGatewayConfig(env: NodeJS.ProcessEnv): Config {
  const config = readConfig(Config, env);
  requireTokensOffLoopback(config, ['SERVICE_TOKEN']);
  if (config.PUBLIC_URL === undefined && !isLoopback(config.HOST)) {
    throw new ConfigError(
      'PUBLIC_URL is needed when HOST is not loopback: where the catalogs reach this gateway, ' +
        'such as http://10.0.0.5:5000.',
    );
  }
  return config;
}
