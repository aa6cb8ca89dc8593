/** The state machine of simulated clusters: registers that can be written, compared-and-set and counted with. */
import { ByteWriter, utf8Decode, utf8Encode } from '../base/bytes.ts';
import { crc32c } from '../base/crc32c.ts';
import type { LogIndex } from '../base/ids.ts';
import type {
  ApplyContext,
  ApplyOutcome,
  EntryBatch,
  StateMachine,
} from '../ports/state-machine.ts';

/** A change of one register. */
export type RegisterCommand =
  | { readonly op: 'write'; readonly key: string; readonly value: string }
  | {
      readonly op: 'cas';
      readonly key: string;
      readonly expected: string | null;
      readonly value: string;
    }
  | { readonly op: 'incr'; readonly key: string; readonly amount: number };

/** What a change gave. */
export interface RegisterResult {
  /** False for a compare-and-set that found another value. */
  readonly isDone: boolean;
  readonly value: string;
}

/** Told about every entry that a machine applies, in order. */
export type AppliedEntry = (
  index: LogIndex,
  entry: {
    readonly payloadCrc: number;
    readonly timeMs: number;
    readonly random: number;
    readonly resultCrc: number;
  },
) => void;

/** Bytes of a command. */
export function encodeCommand(command: RegisterCommand): Uint8Array {
  return utf8Encode(JSON.stringify(command));
}

/** What the bytes of an answer say. */
export function decodeResult(bytes: Uint8Array | undefined): RegisterResult {
  return JSON.parse(utf8Decode(bytes ?? new Uint8Array(0))) as RegisterResult;
}

/** See the file comment. */
export class RegisterMachine implements StateMachine {
  readonly #values = new Map<string, string>();
  readonly #onApplied: AppliedEntry;

  constructor(onApplied: AppliedEntry = () => undefined) {
    this.#onApplied = onApplied;
  }

  apply(batch: EntryBatch, context: ApplyContext): ApplyOutcome {
    const results: Uint8Array[] = [];
    for (let position = 0; position < batch.length; position++) {
      const payload = batch.payload(position);
      const result = utf8Encode(
        JSON.stringify(this.#apply(JSON.parse(utf8Decode(payload)) as RegisterCommand)),
      );
      this.#onApplied(batch.index(position), {
        payloadCrc: crc32c(payload),
        timeMs: context.timeMs(position),
        random: context.random(position, 0),
        resultCrc: crc32c(result),
      });
      results.push(result);
    }
    return { kind: 'ack', results };
  }

  /** The value of the register that the request names, as JSON: a string or null. */
  query(request: Uint8Array): Uint8Array {
    return utf8Encode(JSON.stringify(this.read(utf8Decode(request))));
  }

  /** The value of a register. */
  read(key: string): string | null {
    return this.#values.get(key) ?? null;
  }

  /** Equal for machines that hold the same. */
  digest(): string {
    const rows = [...this.#values].sort(([left], [right]) => (left < right ? -1 : 1));
    return crc32c(utf8Encode(JSON.stringify(rows)))
      .toString(16)
      .padStart(8, '0');
  }

  async *snapshot(): AsyncIterable<Uint8Array> {
    yield utf8Encode(JSON.stringify([...this.#values]));
  }

  async restore(chunks: AsyncIterable<Uint8Array>): Promise<void> {
    const writer = new ByteWriter();
    for await (const chunk of chunks) writer.raw(chunk);
    const rows = JSON.parse(utf8Decode(writer.take())) as [string, string][];
    this.#values.clear();
    for (const [key, value] of rows) this.#values.set(key, value);
  }

  #apply(command: RegisterCommand): RegisterResult {
    const before = this.read(command.key);
    if (command.op === 'cas' && before !== command.expected)
      return { isDone: false, value: before ?? '' };
    const value =
      command.op === 'incr' ? String(Number(before ?? '0') + command.amount) : command.value;
    this.#values.set(command.key, value);
    return { isDone: true, value };
  }
}
