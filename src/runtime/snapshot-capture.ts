/** Taking what a machine's snapshot yields: at once, so that it is the state of now, and into a machine, without mixing up whose failure it is. */
import { messageOf } from '../base/errors.ts';
import type { LogIndex } from '../base/ids.ts';
import type { StateMachine } from '../ports/state-machine.ts';

/** What a snapshot needs of a replica, as of one entry. */
export interface CapturedState {
  /** The newest entry that took effect. */
  readonly index: LogIndex;
  /** The replicated state besides the machine (keys, time, durability mode), in pieces that are made when they are asked for. */
  readonly state: Iterable<Uint8Array>;
  readonly machine: AsyncIterable<Uint8Array>;
}

/** What a snapshot gives back. */
export interface RestorableState extends Omit<CapturedState, 'state'> {
  readonly state: Uint8Array;
}

/**
 * Begins to read at once: a machine that is written as a generator looks at its state at its first `next`, and must not see
 * what is applied until somebody reads on.
 */
export function begun(chunks: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  const iterator = chunks[Symbol.asyncIterator]();
  const first = iterator.next();
  // Whoever reads is told; until then nobody may miss it.
  first.catch(() => undefined);
  let isFirst = true;
  const next = (): Promise<IteratorResult<Uint8Array>> => {
    if (!isFirst) return iterator.next();
    isFirst = false;
    return first;
  };
  const end = (): Promise<IteratorResult<Uint8Array>> =>
    iterator.return?.() ?? Promise.resolve({ done: true, value: undefined });
  return { [Symbol.asyncIterator]: () => ({ next, return: end }) };
}

/**
 * Gives a machine what a snapshot holds. What fails in the source is no failure of the machine: that it rejects with. What the
 * machine threw is the answer.
 */
export async function restoreMachine(
  machine: StateMachine,
  source: AsyncIterable<Uint8Array>,
): Promise<{ readonly thrown: unknown } | undefined> {
  const failures: unknown[] = [];
  async function* watched(): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      yield* source;
    } catch (error) {
      failures.push(error);
      throw error;
    }
  }
  let thrown: { readonly thrown: unknown } | undefined;
  try {
    await machine.restore(watched());
  } catch (error) {
    thrown = { thrown: error };
  }
  if (failures.length > 0) throw toError(failures[0]);
  return thrown;
}

function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error(messageOf(error));
}
