import { connect as dial, type Socket } from 'node:net';
import postgres from 'postgres';
import { arrays } from './array.js';
import { LinkLost } from './trouble.js';

/** What may stand between the words of a statement. */
export type Value = string | number | boolean | null | readonly (string | number | null)[];

/** Runs one statement: sql`SELECT title FROM books WHERE id = ${id}`; resolves to its rows. */
export type Sql = <Row extends object = Record<string, never>>(
  text: TemplateStringsArray,
  ...values: readonly Value[]
) => Promise<readonly Row[]>;

export interface LinkOptions {
  /** postgres://user:password@host:port/database */
  readonly url: string;
  /** What the database shows of us among its connections. */
  readonly name: string;
  /** The server ends a statement that takes longer, waiting for locks included. */
  readonly statementTimeoutMs: number;
  /** A statement that is not answered for so long has lost its connection. */
  readonly silenceMs: number;
}

/** One connection. What it loses stays lost: it never connects a second time. */
export interface Link {
  readonly sql: Sql;
  /** Runs statements without values; resolves to the rows of the last. */
  script(text: string): Promise<readonly object[]>;
  /** What the server said that it did, as `COMMIT` or, of a broken transaction, `ROLLBACK`. */
  command(text: 'BEGIN' | 'COMMIT' | 'ROLLBACK'): Promise<string>;
  /** False as soon as it is known to be of no use. */
  isUsable(): boolean;
  /** Whether a statement was ever answered: a link at rest may be dead, and not know. */
  wasAnswered(): boolean;
  /** Ends it in order, when nothing is under way. */
  end(): Promise<void>;
  /** Ends it at once; what is under way fails. */
  destroy(reason: string): void;
}

/** Mistakes in the use of the driver, which say nothing of the connection. */
const misuse: readonly unknown[] = [undefined, 'UNDEFINED_VALUE', 'MAX_PARAMETERS_EXCEEDED'];

/**
 * Opens a connection with the first statement.
 *
 * The driver has a pool of its own, which heals itself by sending what comes next over a new
 * connection. Amid a transaction that would be a statement outside of it, and a connection that
 * breaks at certain moments is never healed. So each link is a driver with one connection and one
 * socket, and is thrown away with it.
 */
export function openLink({ url, name, statementTimeoutMs, silenceMs }: LinkOptions): Link {
  const { hostname, port } = new URL(url);
  const host = hostname.replace(/^\[(.*)\]$/, '$1');
  let socket: Socket | undefined;
  let lost: LinkLost | undefined;
  let wasAnswered = false;
  const under = new Set<(reason: LinkLost) => void>();

  function openSocket(): Socket {
    // Thrown into the driver, this fails the statement that wanted a second connection.
    if (socket !== undefined) throw new LinkLost('the connection was closed');
    socket = dial({ host, port: Number(port || 5432), noDelay: true });
    // The driver looks here for the name to expect in a certificate.
    return Object.assign(socket, { host });
  }

  const driver = postgres(url, {
    // Its types do not know of this option, which its documentation has.
    ...{ socket: openSocket },
    max: 1,
    fetch_types: false,
    max_lifetime: null,
    idle_timeout: 0,
    connect_timeout: silenceMs / 1000,
    onnotice: () => {},
    onclose: () => lose('the connection was closed'),
    connection: {
      application_name: name,
      statement_timeout: statementTimeoutMs,
      // Whoever is stopped amid a transaction must not hold its locks for ever.
      idle_in_transaction_session_timeout: statementTimeoutMs,
    },
    types: {
      ...arrays,
      // Our numbers stay far below 2^53; beyond, a wrong number is worse than none.
      bigint: { to: 20, from: [20], serialize: String, parse: safeInteger },
    },
  });

  function lose(reason: string, cause?: unknown): LinkLost {
    lost ??= new LinkLost(reason, { cause });
    for (const reject of under) reject(lost);
    under.clear();
    return lost;
  }

  function destroy(reason: string, cause?: unknown): LinkLost {
    const loss = lose(reason, cause);
    socket?.destroy();
    void driver.end({ timeout: 0 }).catch(() => {});
    return loss;
  }

  async function bounded<Result>(query: () => PromiseLike<Result>): Promise<Result> {
    if (lost !== undefined) throw lost;
    const timer = setTimeout(() => destroy(`no answer within ${silenceMs} ms`), silenceMs);
    let reject: (reason: LinkLost) => void = () => {};
    const loss = new Promise<never>((_, rejectLoss) => {
      reject = rejectLoss;
      under.add(reject);
    });
    loss.catch(() => {});
    try {
      const result = await Promise.race([query(), loss]);
      wasAnswered = true;
      return result;
    } catch (error) {
      if (error instanceof LinkLost) throw error;
      if (error instanceof postgres.PostgresError && error.severity === 'ERROR') throw error;
      const code = error instanceof Error && 'code' in error ? error.code : undefined;
      const loss = destroy(error instanceof Error ? error.message : String(error), error);
      throw misuse.includes(code) ? error : loss;
    } finally {
      clearTimeout(timer);
      under.delete(reject);
    }
  }

  async function sql<Row extends object>(
    text: TemplateStringsArray,
    ...values: readonly Value[]
  ): Promise<readonly Row[]> {
    return [...(await bounded(() => driver<Row[]>(text, ...values)))];
  }

  return {
    sql,
    script: (text) => bounded(() => driver.unsafe(text)),
    command: async (text) => (await bounded(() => driver.unsafe(text))).command,
    isUsable: () => lost === undefined && socket?.destroyed !== true,
    wasAnswered: () => wasAnswered,
    async end() {
      lose('the connection was closed');
      await driver.end({ timeout: silenceMs / 1000 }).catch(() => {});
      socket?.destroy();
    },
    destroy,
  };
}

function safeInteger(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new RangeError(`${text} is too large a number`);
  return value;
}
