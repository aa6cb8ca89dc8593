/**
 * The judge of a user's state machine: applies what the cluster applied once more, one entry at a time, to a fresh machine,
 * and holds everything that anybody saw against it.
 *
 * - Results must be those that replicas gave, however they had batched the entries.
 * - Acknowledged appends must be where clients were told, each append at most once.
 * - A linearizable read must give what the machine answers at some entry between the read's start and its end.
 * - A machine restored from a snapshot must answer, and go on, as one that applied everything, also over an older state.
 * - Replicas that applied everything must answer as the fresh machine does.
 */
import { messageOf } from '../../base/errors.ts';
import type { LogIndex } from '../../base/ids.ts';
import { nextBelow, type PrngState } from '../../base/prng.ts';
import type { StateMachine } from '../../ports/state-machine.ts';
import {
  applyAlone,
  type EntryRecord,
  type RecordedEntry,
  type RecordedSnapshot,
} from './entry-record.ts';
import {
  describeReturned,
  describeThrown,
  isSameAnswer,
  type Finding,
  type FindingKind,
} from './findings.ts';
import type { AppendSeen, ReadSeen } from './product-load.ts';
import type { Surroundings } from './surroundings.ts';
import type { Workload } from './workload.ts';

/** Everything that is judged. */
export interface JudgeOptions {
  readonly createMachine: (surroundings: Surroundings) => StateMachine;
  readonly workload: Workload;
  readonly record: EntryRecord;
  readonly appends: readonly AppendSeen[];
  readonly reads: readonly ReadSeen[];
  /** Machines of replicas that have applied everything, by name. */
  readonly replicas: readonly { readonly name: string; readonly machine: StateMachine }[];
  /** Others than those of any node. */
  readonly surroundings: Surroundings;
  readonly random: PrngState;
  readonly describe: (bytes: Uint8Array | undefined) => string;
}

const snapshotsJudgedMax = 6;
const questionsMax = 40;

/** What is wrong, if anything is. */
export async function judgeProduct(options: JudgeOptions): Promise<Finding | undefined> {
  try {
    await new ProductJudge(options).judge();
    return undefined;
  } catch (error) {
    if (error instanceof Found) return error.finding;
    throw error;
  }
}

class Found extends Error {
  readonly finding: Finding;

  constructor(finding: Finding) {
    super(finding.message);
    this.finding = finding;
  }
}

class ProductJudge {
  readonly #options: JudgeOptions;
  readonly #entries: readonly RecordedEntry[];
  /** Asked of every machine that is compared. */
  readonly #questions: readonly Uint8Array[];
  readonly #snapshots: readonly RecordedSnapshot[];
  /** What the fresh machine answered when it had applied as much as a snapshot. */
  readonly #answersAt = new Map<LogIndex, readonly Uint8Array[]>();

  constructor(options: JudgeOptions) {
    this.#options = options;
    this.#entries = options.record.entries();
    this.#questions = distinct(options.reads.map(({ query }) => query)).slice(-questionsMax);
    this.#snapshots = sampleOf(options.record.snapshots, options.random);
  }

  async judge(): Promise<void> {
    this.#judgeAppends();
    const reference = await this.#replay();
    for (const snapshot of this.#snapshots) {
      await this.#judgeSnapshot(snapshot, {
        into: this.#create(),
        how: 'a new machine',
        reference,
      });
      await this.#judgeSnapshot(snapshot, {
        into: await this.#usedMachine(),
        how: 'a machine that held an older state',
        reference,
      });
    }
    const final = this.#ask(reference);
    for (const { name, machine } of this.#options.replicas)
      this.#mustAnswer(final, this.#ask(machine), {
        kind: 'replicasDiffer',
        told: (question, expected, given) =>
          `${name} applied everything and answers ${question} with ${given}; a fresh machine that applied the same entries one by one answers ${expected}`,
      });
    this.#verify(reference);
  }

  /** Every acknowledged append is in the log where its client was told, and no append is there twice. */
  #judgeAppends(): void {
    const { appends, record, describe } = this.#options;
    const taken = new Set<LogIndex>();
    for (const { request, receipt } of appends) {
      if (receipt === undefined) continue;
      const entry = record.get(receipt.index);
      if (entry === undefined || !isSameAnswer(entry.payload, request) || taken.has(receipt.index))
        this.#found(
          'lostEffect',
          `the append ${describe(request)} was acknowledged at index ${receipt.index}, where ${entry === undefined ? 'nothing' : describe(entry.payload)} was applied`,
        );
      taken.add(receipt.index);
      if (!isSameAnswer(entry?.result, receipt.result))
        this.#found(
          'lostEffect',
          `the append ${describe(request)} at index ${receipt.index} was answered with ${describe(receipt.result)}, and applied with ${describe(entry?.result)}`,
        );
    }
    const sent = countOf(appends.filter(({ isRefused }) => !isRefused).map((each) => each.request));
    for (const { payload, index } of this.#entries) {
      const key = keyOf(payload);
      const left = (sent.get(key) ?? 0) - 1;
      if (left < 0)
        this.#found(
          'doubleEffect',
          `entry ${index}, ${describe(payload)}, was applied although every append of these bytes is accounted for`,
        );
      sent.set(key, left);
    }
  }

  /** Applies everything to a fresh machine, and looks at results and reads on the way. */
  async #replay(): Promise<StateMachine> {
    const reference = this.#create();
    const { describe, reads } = this.#options;
    const waiting = new ReadWindow(reads);
    const wanted = new Set(this.#snapshots.map(({ index }) => index));
    waiting.look(0 as LogIndex, (query) => this.#query(reference, query));
    for (const entry of this.#entries) {
      const result = await this.#apply(reference, entry);
      if (!isSameAnswer(result, entry.result))
        this.#found(
          'batchDependent',
          `entry ${entry.index}, ${describe(entry.payload)}, gave ${describe(entry.result)} on ${entry.by}, in a batch of ${entry.batchLength}, and ${describe(result)} when all entries were applied one by one`,
        );
      waiting.look(entry.index, (query) => this.#query(reference, query));
      if (wanted.has(entry.index)) this.#answersAt.set(entry.index, this.#ask(reference));
    }
    const [wrong] = waiting.unexplained();
    if (wrong !== undefined)
      this.#found(
        'wrongRead',
        `the read ${describe(wrong.query)} was answered ${describe(wrong.answer)}; the machine answers so at no entry from ${wrong.from} to ${wrong.to}, while the read was under way`,
      );
    return reference;
  }

  async #judgeSnapshot(
    snapshot: RecordedSnapshot,
    target: {
      readonly into: StateMachine;
      readonly how: string;
      readonly reference: StateMachine;
    },
  ): Promise<void> {
    const { into, how, reference } = target;
    const { describe, record, surroundings } = this.#options;
    const origin = `the snapshot that ${snapshot.by} took after entry ${snapshot.index}, restored into ${how},`;
    try {
      await surroundings.run(() => into.restore(chunksOf(snapshot.chunks)));
    } catch (error) {
      this.#found('snapshotFailed', `${origin} threw: ${messageOf(error)}`);
    }
    const expected = this.#answersAt.get(snapshot.index) ?? [];
    this.#mustAnswer(expected, this.#ask(into), {
      kind: 'restoreDiffers',
      told: (question, right, given) =>
        `${origin} answers ${question} with ${given} instead of ${right}`,
    });
    for (const entry of record.entries(snapshot.index)) {
      const result = await this.#apply(into, entry);
      if (!isSameAnswer(result, entry.result))
        this.#found(
          'restoreDiffers',
          `${origin} gives ${describe(result)} for entry ${entry.index}, ${describe(entry.payload)}, instead of ${describe(entry.result)}`,
        );
    }
    this.#mustAnswer(this.#ask(reference), this.#ask(into), {
      kind: 'restoreDiffers',
      told: (question, right, given) =>
        `${origin} answers ${question} with ${given} instead of ${right} when all later entries were applied`,
    });
  }

  /** A machine that has applied the first half. */
  async #usedMachine(): Promise<StateMachine> {
    const machine = this.#create();
    for (const entry of this.#entries.slice(0, this.#entries.length >> 1))
      await this.#apply(machine, entry);
    return machine;
  }

  #verify(reference: StateMachine): void {
    const { workload, appends } = this.#options;
    const acknowledged = appends
      .flatMap(({ request, receipt }) => (receipt === undefined ? [] : [{ request, ...receipt }]))
      .sort((left, right) => left.index - right.index);
    const unknown = appends
      .filter(({ receipt, isRefused }) => receipt === undefined && !isRefused)
      .map(({ request }) => request);
    let wrong: unknown;
    try {
      wrong = workload.verify?.({
        acknowledged,
        unknown,
        query: (request) => this.#query(reference, request),
      });
    } catch (error) {
      if (error instanceof Found) throw error;
      this.#found('workloadFailed', `verify threw: ${describeThrown(error)}`);
    }
    if (typeof wrong === 'string') this.#found('promiseBroken', wrong);
    if (wrong !== undefined)
      this.#found(
        'workloadFailed',
        `verify returned ${describeReturned(wrong)}, neither text nor nothing`,
      );
  }

  #mustAnswer(
    expected: readonly Uint8Array[],
    given: readonly Uint8Array[],
    finding: {
      readonly kind: FindingKind;
      readonly told: (question: string, expected: string, given: string) => string;
    },
  ): void {
    const { describe } = this.#options;
    const at = expected.findIndex((answer, position) => !isSameAnswer(answer, given[position]));
    if (at < 0) return;
    const told = finding.told(
      describe(this.#questions[at]),
      describe(expected[at]),
      describe(given[at]),
    );
    this.#found(finding.kind, told);
  }

  #create(): StateMachine {
    return this.#options.createMachine(this.#options.surroundings);
  }

  async #apply(machine: StateMachine, entry: RecordedEntry): Promise<Uint8Array | undefined> {
    const { surroundings, record, describe } = this.#options;
    try {
      return await surroundings.run(() => applyAlone(machine, entry, record.partitionId));
    } catch (error) {
      return this.#found(
        'applyFailed',
        `apply failed at entry ${entry.index}, ${describe(entry.payload)}, when entries were applied one by one: ${describeThrown(error)}`,
      );
    }
  }

  #query(machine: StateMachine, request: Uint8Array): Uint8Array {
    const { surroundings, describe } = this.#options;
    let answer: unknown;
    try {
      answer = surroundings.run(() => machine.query(request));
    } catch (error) {
      this.#found('queryFailed', `query threw at ${describe(request)}: ${describeThrown(error)}`);
    }
    if (answer instanceof Uint8Array) return answer;
    return this.#found(
      'queryFailed',
      `query answered ${describe(request)} with ${describeReturned(answer)}, not with bytes`,
    );
  }

  #ask(machine: StateMachine): readonly Uint8Array[] {
    return this.#questions.map((question) => this.#query(machine, question).slice());
  }

  #found(kind: FindingKind, message: string): never {
    throw new Found({ kind, message: `${message}.${this.#options.surroundings.hint()}` });
  }
}

/** Reads that still want an entry at which the machine answers as they were answered; both ends of a read are entries, or 0. */
class ReadWindow {
  readonly #waiting: ReadSeen[];
  #open: ReadSeen[] = [];
  readonly #unexplained: ReadSeen[] = [];

  constructor(reads: readonly ReadSeen[]) {
    this.#waiting = [...reads].sort((left, right) => right.from - left.from);
  }

  /** Asks what is open now, with everything up to `index` applied. */
  look(index: LogIndex, ask: (query: Uint8Array) => Uint8Array): void {
    this.#open = this.#open.filter((read) => {
      if (read.to >= index) return true;
      this.#unexplained.push(read);
      return false;
    });
    this.#admit(index);
    this.#open = this.#open.filter(({ query, answer }) => !isSameAnswer(ask(query), answer));
  }

  unexplained(): readonly ReadSeen[] {
    return [...this.#unexplained, ...this.#open, ...this.#waiting];
  }

  #admit(index: LogIndex): void {
    for (let next = this.#waiting.at(-1); next !== undefined; next = this.#waiting.at(-1)) {
      if (next.from > index) return;
      this.#waiting.pop();
      this.#open.push(next);
    }
  }
}

/** Spread over the run, chosen by chance. */
function sampleOf(snapshots: readonly RecordedSnapshot[], random: PrngState): RecordedSnapshot[] {
  const left = [...snapshots];
  while (left.length > snapshotsJudgedMax) left.splice(nextBelow(random, left.length), 1);
  return left;
}

function distinct(all: readonly Uint8Array[]): Uint8Array[] {
  return [...new Map(all.map((bytes) => [keyOf(bytes), bytes])).values()];
}

function countOf(all: readonly Uint8Array[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const bytes of all) counts.set(keyOf(bytes), (counts.get(keyOf(bytes)) ?? 0) + 1);
  return counts;
}

function keyOf(bytes: Uint8Array): string {
  return bytes.join(',');
}

/** Borders of a snapshot's chunks are not kept: they are moved here, so that a machine which relies on them is found out. */
async function* chunksOf(chunks: readonly Uint8Array[]): AsyncIterable<Uint8Array> {
  const whole = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let end = 0;
  for (const chunk of chunks) {
    whole.set(chunk, end);
    end += chunk.length;
  }
  const size = Math.max(1, Math.ceil(whole.length / 3) | 1);
  for (let at = 0; at < whole.length; at += size) yield whole.slice(at, at + size);
}
