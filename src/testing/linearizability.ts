/**
 * Judges a client history: did every operation seem to take effect at one moment between its call and its return?
 *
 * A history is linearizable exactly when its part for each key is, so keys are searched one by one; `linearizability-search.ts`
 * describes the search. There is no clock here: time limits come in as a function.
 */
import {
  pairHistory,
  type HistoryEvent,
  type HistoryInput,
  type HistoryValue,
  type TimedOperation,
} from './history.ts';
import type { Model } from './linearizability-models.ts';
import { searchOrder, type SearchOutcome } from './linearizability-search.ts';

/** What a check runs with. @public */
export interface LinearizabilityOptions<State, Input, Output> {
  /** The sequential object behind each key. */
  readonly model: Model<State, Input, Output>;
  /** Steps of the model per key before that key is given up as undecided. @defaultValue 5_000_000 */
  readonly stepsMax?: number;
  /** Milliseconds for all keys together; needs `nowMs`. @defaultValue no limit */
  readonly timeMaxMs?: number;
  /** A monotonic clock in milliseconds. */
  readonly nowMs?: () => number;
}

/** The verdict on a history. A violation found wins over a key that stayed undecided. @public */
export type LinearizabilityVerdict<Input, Output> =
  | {
      readonly kind: 'linearizable';
      readonly steps: number;
      /** For each key a legal order of what happened. */
      readonly orders: ReadonlyMap<string, readonly TimedOperation<Input, Output>[]>;
    }
  | LinearizabilityViolation<Input, Output>
  | {
      readonly kind: 'undecided';
      readonly steps: number;
      /** The first key whose search hit a limit. */
      readonly key: string;
      /** All keys without a verdict. */
      readonly keys: readonly string[];
    };

/** Why a key's history is not linearizable. @public */
export interface LinearizabilityViolation<Input, Output> {
  readonly kind: 'violation';
  readonly steps: number;
  readonly key: string;
  /** The longest prefix that has a legal order, in that order. */
  readonly prefix: readonly TimedOperation<Input, Output>[];
  /** Key of the state after the prefix, see {@link Model.stateKey}. */
  readonly stateKey: string;
  /** Operations that cannot follow the prefix: first the one that had to have happened next, then others in flight then. */
  readonly operations: readonly TimedOperation<Input, Output>[];
}

/**
 * Judges a history of events.
 *
 * @throws {@link ClustorError} `CLUSTOR_INVALID_ARGUMENT` for events that do not pair up, or an operation that the model
 * does not know.
 * @public
 */
export function checkLinearizable<State>(
  history: readonly HistoryEvent[],
  options: LinearizabilityOptions<State, HistoryInput, HistoryValue>,
): LinearizabilityVerdict<HistoryInput, HistoryValue> {
  return checkOperations(pairHistory(history).operations, options);
}

/** Judges operations of any model. @public */
export function checkOperations<State, Input, Output>(
  operations: readonly TimedOperation<Input, Output>[],
  options: LinearizabilityOptions<State, Input, Output>,
): LinearizabilityVerdict<Input, Output> {
  const limits = { stepsMax: options.stepsMax ?? 5_000_000, isOutOfTime: deadlineOf(options) };
  const orders = new Map<string, readonly TimedOperation<Input, Output>[]>();
  const undecided: string[] = [];
  let steps = 0;
  for (const [key, part] of groupByKey(operations)) {
    const outcome: SearchOutcome<Input, Output> = limits.isOutOfTime()
      ? { kind: 'undecided', steps: 0 }
      : searchOrder(part, options.model, limits);
    steps += outcome.steps;
    if (outcome.kind === 'violation') {
      const { order: prefix, stateKey, unplaced } = outcome;
      return { kind: 'violation', steps, key, prefix, stateKey, operations: unplaced };
    }
    if (outcome.kind === 'undecided') undecided.push(key);
    else orders.set(key, outcome.order);
  }
  const [first] = undecided;
  if (first !== undefined) return { kind: 'undecided', steps, key: first, keys: undecided };
  return { kind: 'linearizable', steps, orders };
}

function groupByKey<Input, Output>(
  operations: readonly TimedOperation<Input, Output>[],
): ReadonlyMap<string, readonly TimedOperation<Input, Output>[]> {
  const parts = new Map<string, TimedOperation<Input, Output>[]>();
  for (const operation of operations) {
    const part = parts.get(operation.key);
    if (part === undefined) parts.set(operation.key, [operation]);
    else part.push(operation);
  }
  return parts;
}

function deadlineOf(
  options: Pick<LinearizabilityOptions<never, never, never>, 'timeMaxMs' | 'nowMs'>,
): () => boolean {
  const { nowMs, timeMaxMs } = options;
  if (nowMs === undefined || timeMaxMs === undefined) return () => false;
  const endMs = nowMs() + timeMaxMs;
  return () => nowMs() >= endMs;
}
