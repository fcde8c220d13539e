import type { Socket } from 'node:net';
import postgres from 'postgres';
import { arrays } from './array.js';
import { openSocket } from './socket.js';
import { DatabaseError, LinkLost } from './trouble.js';

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

/** The driver, with one connection over the socket that it is given. */
function createDriver(
  { url, name, statementTimeoutMs, silenceMs }: LinkOptions,
  socket: () => Promise<Socket>,
  onclose: () => void,
) {
  return postgres(url, {
    // Its types do not know of this option, which its documentation has.
    ...{ socket },
    ssl: false,
    max: 1,
    fetch_types: false,
    max_lifetime: null,
    idle_timeout: 0,
    connect_timeout: silenceMs / 1000,
    onnotice: () => {},
    onclose,
    connection: {
      application_name: name,
      statement_timeout: statementTimeoutMs,
      // Whoever is stopped amid a transaction must not hold its locks for ever.
      idle_in_transaction_session_timeout: statementTimeoutMs,
      // Whatever the database's own default: each statement has to see what was committed before it.
      default_transaction_isolation: 'read committed',
    },
    types: {
      ...arrays,
      // Our numbers stay far below 2^53; beyond, a wrong number is worse than none.
      bigint: { to: 20, from: [20], serialize: String, parse: safeInteger },
    },
  });
}

/** What is under way on a connection, and whether it has gone. */
function createFate() {
  let lost: LinkLost | undefined;
  const waiting = new Set<(loss: LinkLost) => void>();
  return {
    get lost() {
      return lost;
    },
    /** The first loss counts; whoever waits is told of it. */
    lose(loss: LinkLost): LinkLost {
      lost ??= loss;
      for (const tell of waiting) tell(lost);
      waiting.clear();
      return lost;
    },
    /** Waits for an answer, or for the loss of the connection, whichever comes first. */
    share<Result>(answer: PromiseLike<Result>): Promise<Result> {
      return new Promise((resolve, reject) => {
        waiting.add(reject);
        const done = () => waiting.delete(reject);
        answer.then(resolve, reject).then(done, done);
      });
    },
  };
}

/**
 * Opens a connection with the first statement.
 *
 * The driver has a pool of its own, which heals itself by sending what comes next over a new
 * connection. Amid a transaction that would be a statement outside of it, and a connection that
 * breaks at certain moments is never healed. So each link is a driver with one connection and one
 * socket, and is thrown away with it.
 */
export function openLink(options: LinkOptions): Link {
  const { url, silenceMs } = options;
  let socket: Socket | undefined;
  let wasAnswered = false;
  const fate = createFate();
  const gone = () => fate.lose(new LinkLost('the connection was closed'));
  const driver = createDriver(options, openOnce, gone);

  async function openOnce(): Promise<Socket> {
    // Thrown into the driver, this fails the statement that wanted a second connection.
    if (fate.lost !== undefined || socket !== undefined) throw gone();
    return openSocket(new URL(url), (begun) => {
      socket = begun;
      // Whoever destroys a link hears no more of it; an error that nobody hears ends the process.
      begun.on('error', () => {});
    });
  }

  function destroy(loss: LinkLost): LinkLost {
    const first = fate.lose(loss);
    socket?.destroy();
    void driver.end({ timeout: 0 }).catch(() => {});
    return first;
  }

  async function bounded<Result>(ask: () => PromiseLike<Result>): Promise<Result> {
    if (fate.lost !== undefined) throw fate.lost;
    const timer = setTimeout(() => {
      destroy(new LinkLost(`no answer within ${silenceMs} ms`, { wasSilent: true }));
    }, silenceMs);
    try {
      const result = await fate.share(ask());
      wasAnswered = true;
      return result;
    } catch (error) {
      if (error instanceof postgres.PostgresError && error.severity === 'ERROR') throw error;
      if (error instanceof LinkLost) throw destroy(error);
      const message = error instanceof Error ? error.message : String(error);
      const loss = destroy(new LinkLost(message, { cause: error }));
      throw isMisuse(error) ? error : loss;
    } finally {
      clearTimeout(timer);
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
    isUsable: () => fate.lost === undefined && socket?.destroyed !== true,
    wasAnswered: () => wasAnswered,
    async end() {
      gone();
      await driver.end({ timeout: silenceMs / 1000 }).catch(() => {});
      socket?.destroy();
    },
    destroy: (reason) => void destroy(new LinkLost(reason)),
  };
}

/** Mistakes in the use of the driver, which say nothing of the connection. */
function isMisuse(error: unknown): boolean {
  if (error instanceof DatabaseError) return false;
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return code === undefined || code === 'UNDEFINED_VALUE' || code === 'MAX_PARAMETERS_EXCEEDED';
}

function safeInteger(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new RangeError(`${text} is too large a number`);
  return value;
}
