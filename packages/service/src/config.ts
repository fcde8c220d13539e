import { readFileSync } from 'node:fs';
import { isIP, isIPv4 } from 'node:net';
import { type Static, type TObject, Type } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import envSchema from 'env-schema';
import { StartError } from './start-error.js';

/** A variable of the environment that does not do, in one sentence. */
export class ConfigError extends StartError {
  override readonly name = 'ConfigError';
}

type Environment = Readonly<Record<string, string | undefined>>;

const Token = Type.Optional(
  Type.String({
    minLength: 16,
    pattern: '^[\\w~+/.-]+=*$',
    description: 'a token of 16 or more letters, digits and ~ + / . _ -',
    writeOnly: true,
  }),
);

/** The variables that every service has: where it listens, how it logs, which tokens it takes. */
export function listenFields({ port }: { readonly port: number }) {
  return {
    HOST: Type.String({ default: '127.0.0.1', description: 'the address to listen on' }),
    PORT: Type.Integer({
      default: port,
      minimum: 0,
      maximum: 65_535,
      description: 'the port to listen on, 0 to 65535, where 0 takes any free one',
    }),
    LOG_LEVEL: Type.Union(
      [
        Type.Literal('fatal'),
        Type.Literal('error'),
        Type.Literal('warn'),
        Type.Literal('info'),
        Type.Literal('debug'),
        Type.Literal('trace'),
        Type.Literal('silent'),
      ],
      { default: 'info', description: 'fatal, error, warn, info, debug, trace or silent' },
    ),
    SERVICE_TOKEN: Token,
    ADMIN_TOKEN: Token,
  };
}

/** What is read of an Ajv error. */
const Complaint = Type.Object({
  keyword: Type.String(),
  instancePath: Type.String(),
  message: Type.String(),
  params: Type.Object({ missingProperty: Type.Optional(Type.String()) }),
});

/** Marks a field whose text is checked by a function, which says what is wrong with it. */
const complaintAbout: unique symbol = Symbol('complaintAbout');

interface Field {
  readonly type?: unknown;
  readonly description?: string;
  readonly writeOnly?: boolean;
  readonly [complaintAbout]?: (text: string) => string | undefined;
}

/** The addresses of the replicas of a service, separated by commas; `splitUrls` takes them apart. */
export function urlsField(standard: string) {
  return Type.String({
    default: standard,
    description: 'http addresses such as http://127.0.0.1:5001, separated by commas',
    [complaintAbout]: complaintAboutUrls,
  });
}

/** One address, without a default. */
export function urlField(description: string) {
  return Type.String({
    description,
    [complaintAbout]: (text) =>
      text.includes(',') ? 'only one address may be named' : complaintAboutUrls(text),
  } satisfies Field);
}

/** Addresses and ranges of them, separated by commas; `splitList` takes them apart. */
export function addressesField(description: string) {
  return Type.String({
    description,
    [complaintAbout]: complaintAboutAddresses,
  } satisfies Field);
}

/** What stands between the commas. */
export function splitList(text: string): string[] {
  return text.split(',').map((each) => each.trim());
}

const range = /^([^/]+)(?:\/([0-9]{1,3}))?$/;

function complaintAboutAddresses(text: string): string | undefined {
  for (const each of splitList(text)) {
    const [, address = '', bits = '0'] = range.exec(each) ?? [];
    const version = isIP(address);
    if (version === 0 || Number(bits) > (version === 4 ? 32 : 128)) {
      return `${JSON.stringify(each)} is no address and no range of them`;
    }
  }
  return undefined;
}

/** The PostgreSQL database of a service, which may have a password in it and is never shown. */
export function databaseField() {
  return Type.Optional(
    Type.String({
      description: 'a PostgreSQL database, as postgres://user:password@host:5432/database',
      writeOnly: true,
      [complaintAbout]: complaintAboutDatabase,
    } satisfies Field),
  );
}

function complaintAboutDatabase(text: string): string | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^postgres(ql)?:\/\/[^/]/.test(text)) {
    return 'it does not begin with postgres:// and a host';
  }
  if (url.hostname.includes(',')) return 'it names more than one host';
  if (!isEncoded(url.username) || !isEncoded(url.password)) {
    return 'a % in its user or its password has to be written as %25';
  }
  return url.hostname === '' || !/^\/[^/]+$/.test(url.pathname)
    ? 'it does not name a host and one database'
    : undefined;
}

function isEncoded(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}

/** The origins that a `urlsField` names. */
export function splitUrls(urls: string): string[] {
  return splitList(urls).map((each) => new URL(each).origin);
}

function complaintAboutUrls(urls: string): string | undefined {
  for (const text of splitList(urls)) {
    if (text.includes('@')) return 'an address may carry no user and no password';
    const quoted = JSON.stringify(text);
    const url = URL.canParse(text) ? new URL(text) : undefined;
    if (url === undefined) return `${quoted} is no address`;
    // http:a and http:///a are read as http://a: whoever wrote that meant something else.
    if (!/^https?:\/\/[^/]/i.test(text)) return `${quoted} does not begin with http://`;
    if (url.pathname !== '/' || /[?#]/.test(text)) {
      return `${quoted} may have nothing behind its host and port`;
    }
  }
  return undefined;
}

/** `PORT is "x", but must be a plain decimal number (where to listen, 0 to 65535).` */
function sentence(name: string, field: Field, value: string | undefined, reason: string): string {
  // What stands before an @ in an address may be a password.
  const isSecret = field.writeOnly || (field[complaintAbout] && value?.includes('@'));
  const shown = isSecret ? 'a secret that is not shown' : JSON.stringify(value);
  const start = value === undefined ? `${name} is not set` : `${name} is ${shown}`;
  const description = field.description ? ` (${field.description.replace(/\.$/, '')})` : '';
  return `${start}, but ${reason}${description}.`;
}

/** A secret may come in a file, so that it stands in no process list and no compose file. */
function fromFile(name: string, path: string, readFile: (path: string) => string): string {
  let text: string;
  try {
    text = readFile(path).trim();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new ConfigError(`${name}_FILE names a file that cannot be read: ${reason}.`);
  }
  if (text === '') throw new ConfigError(`${name}_FILE names the file ${path}, which is empty.`);
  return text;
}

const plainNumber = /^-?[0-9]+(\.[0-9]+)?$/;

function gather(
  fields: Readonly<Record<string, Field>>,
  env: Environment,
  readFile: (path: string) => string,
): Record<string, string> {
  const values: Record<string, string> = {};
  for (const [name, field] of Object.entries(fields)) {
    // An empty variable is what compose makes of one that is not set.
    const value = env[name] || undefined;
    const file = (field.writeOnly && env[`${name}_FILE`]) || undefined;
    if (value !== undefined && file !== undefined) {
      throw new ConfigError(`${name} and ${name}_FILE are both set; only one of them may be.`);
    }
    const text = file === undefined ? value : fromFile(name, file, readFile);
    if (text === undefined) continue;
    const isNumber = field.type === 'integer' || field.type === 'number';
    // Coercion would take 0x50 and 1e3 for numbers.
    if (isNumber && !plainNumber.test(text)) {
      throw new ConfigError(sentence(name, field, text, 'must be a plain decimal number'));
    }
    const complaint = field[complaintAbout]?.(text);
    if (complaint !== undefined) throw new ConfigError(sentence(name, field, text, complaint));
    values[name] = text;
  }
  return values;
}

/** Which variable env-schema's validator found wrong, and why. */
function complaintOf(error: unknown): { name: string; reason: string } | undefined {
  if (typeof error !== 'object' || error === null || !('errors' in error)) return undefined;
  // Of a union of literals every branch complains; the last one is the union itself.
  const last: unknown = Array.isArray(error.errors) ? error.errors.at(-1) : undefined;
  if (!Value.Check(Complaint, last)) return undefined;
  const name = last.params.missingProperty ?? last.instancePath.split('/')[1];
  if (name === undefined) return undefined;
  const reason = last.params.missingProperty === undefined ? last.message : 'has to be';
  return { name, reason: last.keyword === 'anyOf' ? 'is not one of the values allowed' : reason };
}

/**
 * Reads a service's configuration, once. Fields with `writeOnly` are secrets: they are never shown
 * and may be given as `<NAME>_FILE`, a path. Throws `ConfigError` with a sentence that names the
 * variable, its value and what is allowed (the field's `description`).
 */
export function readConfig<S extends TObject>(
  schema: S,
  env: Environment,
  readFile: (path: string) => string = (path) => readFileSync(path, 'utf8'),
): Static<S> {
  const fields: Readonly<Record<string, Field>> = schema.properties;
  const values = gather(fields, env, readFile);
  try {
    // A copy, because env-schema writes into the schema.
    return envSchema<Static<S>>({ schema: { ...schema }, data: values, env: false });
  } catch (error) {
    const complaint = complaintOf(error);
    if (complaint === undefined) throw error;
    const { name, reason } = complaint;
    throw new ConfigError(sentence(name, fields[name] ?? {}, values[name], reason));
  }
}

/** True for a host that only this machine can reach. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIPv4(host) && host.startsWith('127.'));
}

/**
 * Throws `ConfigError` when others can reach the service and a token that guards it is missing, or
 * one token is both: whoever may speak as a service could then do what only the keeper may.
 */
export function requireTokensOffLoopback(
  config: { readonly HOST: string; readonly SERVICE_TOKEN?: string; readonly ADMIN_TOKEN?: string },
  names: readonly ('SERVICE_TOKEN' | 'ADMIN_TOKEN')[] = ['SERVICE_TOKEN', 'ADMIN_TOKEN'],
): void {
  if (isLoopback(config.HOST)) return;
  const reach = `HOST is "${config.HOST}", which others can reach, so`;
  const missing = names.find((name) => config[name] === undefined);
  if (missing !== undefined) {
    throw new ConfigError(
      `${reach} ${missing} (or ${missing}_FILE) must be set; \`openssl rand -hex 32\` makes one.`,
    );
  }
  if (config.SERVICE_TOKEN !== undefined && config.SERVICE_TOKEN === config.ADMIN_TOKEN) {
    throw new ConfigError(
      `${reach} SERVICE_TOKEN and ADMIN_TOKEN may not be the same; \`openssl rand -hex 32\` ` +
        'makes another.',
    );
  }
}
