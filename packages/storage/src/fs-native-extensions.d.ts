/** The part of fs-native-extensions that is used here; the package brings no types. */
declare module 'fs-native-extensions' {
  /**
   * False when another open file holds the lock; throws what else the system says.
   * @param length in bytes from the offset on; both 0 for the whole file
   */
  export function tryLock(
    descriptor: number,
    offset: number,
    length: number,
    options: { readonly shared: boolean },
  ): boolean;
}
