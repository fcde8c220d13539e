/** At most 15 digits: a double holds every whole number below 2^53. */
const wholeNumberPattern = /^ *0*([0-9]{1,15})(?:\.0+)? *$/;

/** `40`, `40.0` and `040` are 40; anything but a whole number from 0 is undefined. */
export function wholeNumber(text: string): number | undefined {
  const digits = wholeNumberPattern.exec(text)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

const moneyPattern = /^ *0*([0-9]{1,12}(?:\.[0-9]{1,2}0*)?) *$/;

/** `50`, `50.0` and `50.00` are 50; more than two decimals, or a sign, is undefined. */
export function money(text: string): number | undefined {
  const digits = moneyPattern.exec(text)?.[1];
  return digits === undefined ? undefined : Number(digits);
}
