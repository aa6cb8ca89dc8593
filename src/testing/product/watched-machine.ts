/**
 * A user's state machine in a simulated run, with everything that it does looked at.
 *
 * Each result is compared with that of whoever applied the entry first; now and then a snapshot is taken while entries go
 * on being applied; clock and chance are the simulated node's own.
 */
import { crc32c } from '../../base/crc32c.ts';
import type { LogIndex } from '../../base/ids.ts';
import { nextBelow, nextBetween, type PrngState } from '../../base/prng.ts';
import type {
  ApplyContext,
  ApplyOutcome,
  EntryBatch,
  StateMachine,
} from '../../ports/state-machine.ts';
import { resultBytesMax } from '../../runtime/apply-answers.ts';
import { queryResultBytesMax } from '../../runtime/client-requests.ts';
import type { AppliedEntry } from '../sim-machine.ts';
import type { EntryRecord } from './entry-record.ts';
import { describeReturned, describeThrown, isSameAnswer, type FindingKind } from './findings.ts';
import type { Surroundings } from './surroundings.ts';

/** What a watched machine reports to. */
export interface MachineWatch {
  /** The user's own machine. */
  readonly inner: StateMachine;
  /** Who this is: node and life. */
  readonly name: string;
  readonly record: EntryRecord;
  readonly surroundings: Surroundings;
  readonly random: PrngState;
  readonly onApplied: AppliedEntry;
  /** Machines of the run whose `apply` gave a promise that has not settled. */
  readonly applying: Set<WatchedMachine>;
  readonly describe: (bytes: Uint8Array | undefined) => string;
  readonly found: (kind: FindingKind, message: string) => void;
  /** Calls `act` in simulated time, unless this life is over by then. */
  readonly after: (delayMs: number, act: () => void) => void;
}

/** After so many entries, in the mean, a machine is asked for a snapshot. */
const snapshotEveryEntries = 60;
const snapshotsMaxOfRun = 24;
/** `fatal` so often for one entry stops a replica for good. */
const fatalsMax = 3;

/** See the file comment. */
export class WatchedMachine implements StateMachine {
  readonly #watch: MachineWatch;
  #fatals = 0;
  /** Entries of the promise that has not settled. */
  #entriesUnderWay = '';
  #snapshotsOpen = 0;

  constructor(watch: MachineWatch) {
    this.#watch = watch;
  }

  apply(batch: EntryBatch, context: ApplyContext): ApplyOutcome | Promise<ApplyOutcome> {
    const payloads = Array.from({ length: batch.length }, (_, at) => batch.payload(at).slice());
    const { inner, surroundings } = this.#watch;
    let outcome: ApplyOutcome | Promise<ApplyOutcome>;
    try {
      outcome = surroundings.run(() => inner.apply(batch, context));
    } catch (error) {
      this.#threw(batch, error);
      throw error;
    }
    if (!(outcome instanceof Promise)) {
      this.#applied(batch, context, { payloads, outcome });
      return outcome;
    }
    const { applying } = this.#watch;
    applying.add(this);
    this.#entriesUnderWay = entriesOf(batch);
    return outcome.then(
      (settled) => {
        applying.delete(this);
        this.#applied(batch, context, { payloads, outcome: settled });
        return settled;
      },
      (error: unknown) => {
        applying.delete(this);
        this.#threw(batch, error);
        throw error;
      },
    );
  }

  /**
   * Called while an `apply` is under way and no microtask is left. The process's own timers would come at another moment of
   * the simulated time in every run. A machine may have its entries wait for a snapshot: that goes on in simulated time.
   */
  drained(): void {
    if (this.#snapshotsOpen > 0) return;
    this.#watch.found(
      'applyFailed',
      `apply on ${this.#watch.name}, of ${this.#entriesUnderWay}, waits for something else than promises: in simulation it may wait for promises only, not for a timer, setImmediate or I/O of the process`,
    );
  }

  query(request: Uint8Array): Uint8Array {
    const { inner, name, surroundings, found, describe } = this.#watch;
    let answer: unknown;
    try {
      answer = surroundings.run(() => inner.query(request));
    } catch (error) {
      found(
        'queryFailed',
        `query threw on ${name}, at ${describe(request)}: ${describeThrown(error)}`,
      );
      throw error;
    }
    if (answer instanceof Uint8Array && answer.length <= queryResultBytesMax) return answer;
    const given =
      answer instanceof Uint8Array
        ? `${answer.length} bytes; an answer has ${queryResultBytesMax} at most`
        : `${describeReturned(answer)}, not with bytes`;
    const what = `query on ${name} answered ${describe(request)} with ${given}`;
    found('queryFailed', what);
    throw new TypeError(what);
  }

  snapshot(): AsyncIterable<Uint8Array> {
    return this.#watch.inner.snapshot();
  }

  restore(chunks: AsyncIterable<Uint8Array>): Promise<void> {
    const { inner, record, name } = this.#watch;
    record.restored.add(name);
    return inner.restore(chunks);
  }

  #threw(batch: EntryBatch, error: unknown): void {
    this.#watch.found(
      'applyFailed',
      `apply threw on ${this.#watch.name}, at ${entriesOf(batch)}: ${describeThrown(error)}`,
    );
  }

  #applied(
    batch: EntryBatch,
    context: ApplyContext,
    done: { readonly payloads: readonly Uint8Array[]; readonly outcome: ApplyOutcome },
  ): void {
    const { payloads, outcome } = done;
    const fault = faultOfOutcome(outcome, batch.length);
    if (fault !== undefined) {
      const what = `apply on ${this.#watch.name} returned ${fault}, for ${entriesOf(batch)}`;
      this.#watch.found('applyFailed', what);
      throw new TypeError(what);
    }
    const count = outcome.kind === 'ack' ? batch.length : outcome.appliedCount;
    if (outcome.kind !== 'fatal' || count > 0) this.#fatals = 0;
    if (outcome.kind === 'fatal' && ++this.#fatals === fatalsMax)
      this.#watch.found(
        'applyFailed',
        `apply failed for good on ${this.#watch.name}, at entry ${batch.index(count)}: ${outcome.message}`,
      );
    for (let position = 0; position < count; position++) {
      const payload = payloads[position];
      if (payload === undefined) continue;
      this.#compare(payload, outcome.results?.[position], { batch, context, position });
      if (nextBelow(this.#watch.random, snapshotEveryEntries) === 0 && position === count - 1)
        this.#takeSnapshot(batch.index(position));
    }
  }

  #compare(
    payload: Uint8Array,
    result: Uint8Array | undefined,
    at: { readonly batch: EntryBatch; readonly context: ApplyContext; readonly position: number },
  ): void {
    const { record, name, found, describe, surroundings, onApplied } = this.#watch;
    const { batch, context, position } = at;
    const index = batch.index(position);
    onApplied(index, {
      payloadCrc: crc32c(payload),
      timeMs: context.timeMs(position),
      random: context.random(position, 0),
      // What the machine made of it is compared here, with more to say.
      resultCrc: 0,
    });
    if (!isSameAnswer(payload, batch.payload(position)))
      found('payloadChanged', `apply on ${name} wrote into the bytes of entry ${index}`);
    const known = record.get(index);
    if (known === undefined) {
      record.add({
        index,
        term: batch.term(position),
        payload,
        timeMs: context.timeMs(position),
        result: result?.slice(),
        by: name,
        batchLength: batch.length,
      });
      return;
    }
    if (isSameAnswer(known.result, result)) return;
    found(
      'differentResults',
      `entry ${index}, ${describe(payload)}, gave ${describe(known.result)} on ${known.by} and ${describe(result)} on ${name}.${surroundings.hint() || this.#snapshotHint(known.by)}`,
    );
  }

  /** A sentence about who of two that differ knows what is older from a snapshot only, or nothing. */
  #snapshotHint(other: string): string {
    const { record, name } = this.#watch;
    const restored = [other, name].filter((life) => record.restored.has(life));
    return restored.length === 0
      ? ''
      : ` ${restored.join(' and ')} went on from a snapshot: look for what snapshot leaves out, or restore does not put back.`;
  }

  /** The first chunk is asked for at once, the others later: what is applied meanwhile must not show. */
  #takeSnapshot(index: LogIndex): void {
    const { inner, record, name, random, after, found, surroundings } = this.#watch;
    if (record.snapshots.length >= snapshotsMaxOfRun) return;
    const delayMs = nextBetween(random, 10, 400);
    const chunks: Uint8Array[] = [];
    this.#snapshotsOpen++;
    const failed = (error: unknown): void => {
      this.#snapshotsOpen--;
      found(
        'snapshotFailed',
        `snapshot threw on ${name}, after entry ${index}: ${describeThrown(error)}`,
      );
    };
    try {
      const iterator = inner.snapshot()[Symbol.asyncIterator]();
      const step = (): void => {
        surroundings
          .run(() => iterator.next())
          .then((next) => {
            if (next.done === true) {
              this.#snapshotsOpen--;
              record.snapshots.push({ index, chunks, by: name });
              return;
            }
            if (!((next.value as unknown) instanceof Uint8Array)) {
              failed(new TypeError(`a chunk is ${describeReturned(next.value)}, not bytes`));
              return;
            }
            chunks.push(next.value.slice());
            after(chunks.length === 1 ? delayMs : 1, step);
          }, failed);
      };
      step();
    } catch (error) {
      failed(error);
    }
  }
}

function entriesOf(batch: EntryBatch): string {
  return `entries ${batch.index(0)} to ${batch.index(batch.length - 1)}`;
}

/** What is wrong with the form of what `apply` returned for so many entries, if anything is. */
function faultOfOutcome(returned: unknown, length: number): string | undefined {
  const outcome = (returned ?? {}) as Readonly<Record<string, unknown>>;
  const { kind, appliedCount, results } = outcome;
  if (kind !== 'ack' && kind !== 'retryable' && kind !== 'fatal')
    return `${describeReturned(returned)}, which is no outcome`;
  const count = kind === 'ack' ? length : Number(appliedCount);
  if (!Number.isInteger(count) || count < 0 || count > length)
    return `an appliedCount of ${String(appliedCount)} for ${length} entries`;
  if (results === undefined) return undefined;
  if (!Array.isArray(results)) return `results that are ${describeReturned(results)}`;
  if (results.length < count) return `${results.length} results for ${count} entries`;
  for (const result of results as readonly unknown[]) {
    if (result === undefined) continue;
    if (!(result instanceof Uint8Array))
      return `a result that is ${describeReturned(result)}, not bytes`;
    if (result.length > resultBytesMax)
      return `a result of ${result.length} bytes; one has ${resultBytesMax} at most`;
  }
  return undefined;
}
