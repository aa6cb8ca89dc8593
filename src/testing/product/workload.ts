/** What a user's clients do to a state machine in simulated runs. */
import type { LogIndex } from '../../base/ids.ts';
import { nextBelow, nextBetween, nextFloat, pick, type PrngState } from '../../base/prng.ts';

/** Chance that follows from the seed: the only one a workload may use. @public */
export interface WorkloadRandom {
  /** A whole number in [0, boundExclusive). */
  below(boundExclusive: number): number;
  /** A whole number in [min, maxInclusive]. */
  between(min: number, maxInclusive: number): number;
  /** True with a probability from 0 to 1. */
  chance(probability: number): boolean;
  /** One of the items. */
  pick<Item>(items: readonly Item[]): Item;
}

/** One thing that a client asks for: a change, or a linearizable read. @public */
export type WorkloadRequest = { readonly append: Uint8Array } | { readonly query: Uint8Array };

/** Who asks. @public */
export interface WorkloadTurn {
  /** Counts the requests of the run, from 1. */
  readonly operation: number;
  /** Number of the client, from 0; a client asks for one thing at a time. */
  readonly client: number;
  readonly random: WorkloadRandom;
}

/** An append that was acknowledged. @public */
export interface AcknowledgedAppend {
  readonly request: Uint8Array;
  readonly index: LogIndex;
  readonly result: Uint8Array | undefined;
}

/** What clients know at the end of a run, and what a replica that has applied everything answers. @public */
export interface WorkloadOutcome {
  /** In order of the log. */
  readonly acknowledged: readonly AcknowledgedAppend[];
  /** Appends that may or may not have taken effect: their clients gave up or lost the connection. */
  readonly unknown: readonly Uint8Array[];
  /** Asks the machine. */
  query(request: Uint8Array): Uint8Array;
}

/** What clients do. Keeps nothing between calls: everything follows from the turn, or a seed cannot be run again. @public */
export interface Workload {
  /** The next request of a client. Let some be queries: only what is asked for can be compared. */
  next(turn: WorkloadTurn): WorkloadRequest;
  /** How a request, a result or an answer is shown in findings and pictures. @defaultValue text if it is printable, else hexadecimal */
  describe?(bytes: Uint8Array): string;
  /** The product's own promise, looked at when everything is healed and applied. Returns what is wrong, if anything is. */
  verify?(outcome: WorkloadOutcome): string | undefined;
}

/** A workload's chance over a generator. */
export function workloadRandom(state: PrngState): WorkloadRandom {
  return {
    below: (boundExclusive) => nextBelow(state, boundExclusive),
    between: (min, maxInclusive) => nextBetween(state, min, maxInclusive),
    chance: (probability) => nextFloat(state) < probability,
    pick: (items) => pick(state, items),
  };
}
