/** What a fuzz target is: bytes in, a verdict out; anything else that comes out is a finding. */
import { isDeepStrictEqual } from 'node:util';

import type { ErrorCode } from '../../src/base/error-codes.ts';
import type { PrngState } from '../../src/base/prng.ts';

/** What a decoder made of an input. `shape` is a word for the way it went: a new one makes the input a parent of others. */
export interface Verdict {
  readonly isAccepted: boolean;
  readonly shape: string;
}

/** A decoder, or something that reads what others wrote. */
export interface FuzzTarget {
  readonly name: string;
  /** Error codes that its documentation names; any other one is a finding. */
  readonly codes: readonly ErrorCode[];
  /** Inputs that it gets in each round: more where one costs little. */
  readonly inputsPerRound: number;
  /** Milliseconds that an input may take; {@link slowMs} unless given. */
  readonly slowMs?: number;
  /** Bytes that an input may hold besides a multiple of its own; {@link heldBytes} unless given. */
  readonly heldBytes?: number;
  /** Words to be put into texts. */
  readonly words?: readonly string[];
  /** A valid input. Refusing it is a finding. */
  sample(random: PrngState): Uint8Array;
  /** Makes checksums fit again, in place, so that what lies behind them is met. */
  reseal?(bytes: Uint8Array): void;
  /** What is accepted must be sealed: `reseal` would leave it as it is. */
  readonly isSealed?: boolean;
  /** Decodes an input and checks what came out. @throws ClustorError of one of `codes`; all else is a finding. */
  run(input: Uint8Array): Verdict | Promise<Verdict>;
}

/** Milliseconds that a call may take. */
export const slowMs = 50;
/** Bytes that a call may hold besides a multiple of its input. */
export const heldBytes: number = 1024 * 1024;

/** A rule of a target that an input broke. */
export class BrokenRule extends Error {
  override readonly name: string = 'BrokenRule';
}

/** Demands a rule of a target. */
export function demand(holds: boolean, rule: string): asserts holds {
  if (!holds) throw new BrokenRule(rule);
}

/** Demands that two values are equal in every part. */
export function demandEqual(left: unknown, right: unknown, rule: string): void {
  demand(isDeepStrictEqual(left, right), rule);
}

/** The input was taken. */
export function accepted(shape: string): Verdict {
  return { isAccepted: true, shape };
}

/** The input was refused by a value, not by an error. */
export function refused(shape: string): Verdict {
  return { isAccepted: false, shape };
}
