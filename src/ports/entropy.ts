/** Randomness. */

/** A source of random bytes; seeded in the simulator, the operating system's otherwise. @public */
export interface Entropy {
  /** Fresh random bytes. */
  bytes(count: number): Uint8Array;
  /** A random u32. */
  uint32(): number;
}
