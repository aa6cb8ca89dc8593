/** The state machine of a cluster that was started without a product: it counts what was appended and keeps the newest entry. */
import { ByteReader, ByteWriter, utf8Decode, utf8Encode } from '../base/bytes.ts';
import { crc32c } from '../base/crc32c.ts';
import type { ApplyOutcome, EntryBatch, StateMachine } from '../ports/state-machine.ts';

const lastBytesMax = 4 * 1024 * 1024;

/** Answers `append` with nothing and a query of `""` or `last` with the state or the newest entry. */
export class DefaultMachine implements StateMachine {
  #count = 0;
  #bytes = 0;
  /** CRC-32C over all entries: equal on all replicas. */
  #digest = 0;
  #last = new Uint8Array(0);

  apply(batch: EntryBatch): ApplyOutcome {
    for (let position = 0; position < batch.length; position++) {
      const start = batch.payloadStart(position);
      const end = batch.payloadEnd(position);
      this.#digest = crc32c(batch.bytes(position), start, end, this.#digest);
      this.#bytes += end - start;
    }
    this.#count += batch.length;
    this.#last = batch.payload(batch.length - 1).slice();
    return { kind: 'ack' };
  }

  query(request: Uint8Array): Uint8Array {
    if (utf8Decode(request) === 'last') return this.#last;
    return utf8Encode(
      JSON.stringify({
        count: this.#count,
        bytes: this.#bytes,
        digest: `0x${this.#digest.toString(16).padStart(8, '0')}`,
      }),
    );
  }

  async *snapshot(): AsyncIterable<Uint8Array> {
    const writer = new ByteWriter();
    writer.u64(this.#count);
    writer.u64(this.#bytes);
    writer.u32(this.#digest);
    writer.lengthPrefixed(this.#last);
    yield writer.take();
  }

  async restore(chunks: AsyncIterable<Uint8Array>): Promise<void> {
    const writer = new ByteWriter();
    for await (const chunk of chunks) writer.raw(chunk);
    const reader = new ByteReader(writer.take());
    const [count, bytes, digest] = [reader.u64(), reader.u64(), reader.u32()];
    const last = reader.lengthPrefixed(lastBytesMax).slice();
    this.#count = count;
    this.#bytes = bytes;
    this.#digest = digest;
    this.#last = last;
  }
}
