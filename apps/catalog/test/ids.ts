/** The n-th id of an operation: a UUID, the same in every run. */
export function idOf(n: number): string {
  return `0190a2b4-7d00-7000-8000-${n.toString(16).padStart(12, '0')}`;
}
