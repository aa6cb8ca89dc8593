/**
 * Assertions are for our own bugs: always on, and a failed one stops the replica that hit it.
 * What the world does wrong (disks, peers, callers) is a typed error instead, see `errors.ts`.
 */

/** Thrown when code of this package broke one of its own rules. Never caught to go on. @public */
export class InvariantError extends Error {
  override readonly name: string = 'InvariantError';
}

/**
 * Throws {@link InvariantError} unless `condition` holds.
 *
 * `claim` is static text that states what must be true, so that nothing is built on the good path.
 */
export function assert(condition: boolean, claim: string): asserts condition {
  if (!condition) throw new InvariantError(`broken invariant: ${claim}`);
}

/** Marks a branch that the type system proves empty; reaching it is a bug. */
export function unreachable(value: never): never {
  throw new InvariantError(`unreachable variant: ${JSON.stringify(value)}`);
}

/** Narrows `undefined` away where an earlier check already ruled it out. */
export function present<T>(value: T | undefined, claim: string): T {
  if (value === undefined) throw new InvariantError(`missing value: ${claim}`);
  return value;
}
