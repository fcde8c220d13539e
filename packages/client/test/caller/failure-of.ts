import { Failure } from '@bazar/contracts';

/** The failure with which a call rejects; fails the test when it does anything else. */
export async function failureOf(call: Promise<unknown>): Promise<Failure> {
  const outcome = await call.then(
    () => 'it resolved',
    (error: unknown) => error,
  );
  if (outcome instanceof Failure) return outcome;
  throw new Error(`No failure: ${outcome}`);
}
