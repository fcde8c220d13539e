/** The part of fs-native-extensions that is used here; the package brings no types. */
declare module 'fs-native-extensions' {
  /** False when another open file holds the lock; throws what else the system says. */
  export function tryLock(descriptor: number): boolean;
}
