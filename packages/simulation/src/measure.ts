/**
 * How much a randomised test does: a whole number from 1. A test that does nothing would pass.
 * @param name of the variable, for people
 * @param text as the environment has it
 * @throws RangeError that names the variable, for anything else, an empty text included
 */
export function readMeasure(name: string, text: string | undefined, standard: number): number {
  if (text === undefined) return standard;
  if (/^[1-9][0-9]{0,8}$/.test(text)) return Number(text);
  throw new RangeError(`${name} is ${JSON.stringify(text)}, but must be a whole number from 1`);
}
