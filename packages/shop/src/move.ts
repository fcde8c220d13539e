import { constants } from 'node:os';
import { Failure } from '@bazar/contracts';
import { DatabaseError, refusalOf } from '@bazar/postgres';
import { ConfigError } from '@bazar/service';
import { troubleOf } from '@bazar/storage';
import { readMoveConfig } from './move/config.js';
import { Interrupted, MoveRefused } from './move/refusal.js';
import { moveShop } from './move/shop-move.js';
import { onSignals } from './signals.js';

process.exitCode = await move(process.env);

/**
 * Moves the shop of a folder into PostgreSQL, and says what came of it.
 *
 * @returns the exit code: 0 when it is there, 1 when it is not, 130 and the like after a signal
 */
async function move(env: NodeJS.ProcessEnv): Promise<number> {
  const stopping = new AbortController();
  let code = 1;
  const ignoreSignals = onSignals(
    (signal) => {
      code = 128 + constants.signals[signal];
      console.error(`${signal}: what was begun is taken back.`);
      stopping.abort(new Interrupted(signal));
    },
    // Whatever it leaves behind is what a kill would: the next move deals with that.
    () => process.exit(code),
  );
  try {
    await moveShop(readMoveConfig(env), { say: console.log, stop: stopping.signal });
    return 0;
  } catch (error) {
    if (error instanceof Interrupted)
      console.error('The shop was not moved; the files are as they were.');
    else console.error(inWords(error));
    return code;
  } finally {
    ignoreSignals();
  }
}

/** @throws the error itself, where it is a mistake of ours */
function inWords(error: unknown): string {
  if (error instanceof ConfigError) return error.message;
  const isForPeople =
    error instanceof MoveRefused || error instanceof DatabaseError || error instanceof Failure;
  const trouble = isForPeople ? error.message : (refusedBy(error) ?? troubleOf(error));
  if (trouble === undefined) throw error;
  return `The shop cannot be moved: ${trouble.replace(/\.$/, '')}.`;
}

/** What somebody's own trigger says, or a constraint. */
function refusedBy(error: unknown): string | undefined {
  const isRefused = error instanceof Error && refusalOf(error) !== undefined;
  return isRefused ? `PostgreSQL refuses it: ${error.message}` : undefined;
}
