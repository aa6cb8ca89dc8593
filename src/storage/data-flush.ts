/** What one flush of entries seals, and what it completes once its chain has ended; one is under way at a time. */
import type { LogIndex, Term } from '../base/ids.ts';
import type { LedgerRecord } from '../codec/ledger-records.ts';
import { termParts } from './append-parts.ts';
import type { LogStoreListener } from './log-store-types.ts';
import type { PartitionLog, PendingAppend } from './partition-log.ts';
import type { SegmentWriter } from './segment-writer.ts';

interface Newest {
  appendSequence: number;
  lastIndex: LogIndex;
  lastTerm: Term;
}

/** See the file comment. */
export class DataFlush {
  /** The newest append of each partition in the flush under way. */
  #newest = new Map<PartitionLog, Newest>();
  /** Moves of what the flush under way writes anew, and whom to tell. */
  #moves: Extract<LedgerRecord, { kind: 'rangeMoved' }>[] = [];
  #repaired: (() => void)[] = [];
  /** Flushes of entries laid out since the start. */
  flushes = 0;
  /** Entries sealed since the start. */
  entries = 0;
  /** Bytes of their frames. */
  entryBytes = 0;

  /** Lays out an append, a repair or a copy in the flush that the writer has begun. */
  seal(writer: SegmentWriter, append: PendingAppend): void {
    const { log, batch, appendSequence } = append;
    if (appendSequence === undefined) {
      this.#sealAnew(writer, append);
      return;
    }
    for (const part of termParts(batch)) {
      const { block, offset } = writer.place();
      const count = part.lastIndex - part.firstIndex + 1;
      log.index.push({ firstIndex: part.firstIndex, count, term: part.lastTerm, block, offset });
      writer.add(part.bytes);
    }
    this.entries += batch.lastIndex - batch.firstIndex + 1;
    this.entryBytes += batch.bytes.length;
    const newest = this.#newest.get(log);
    if (newest === undefined) {
      this.#newest.set(log, {
        appendSequence,
        lastIndex: batch.lastIndex,
        lastTerm: batch.lastTerm,
      });
      return;
    }
    newest.appendSequence = appendSequence;
    newest.lastIndex = batch.lastIndex;
    newest.lastTerm = batch.lastTerm;
  }

  #sealAnew(writer: SegmentWriter, append: PendingAppend): void {
    const { log, batch, done, cause = 'repair' } = append;
    const { segmentSeq } = writer.segment;
    for (const part of termParts(batch)) {
      const { block, offset } = writer.place();
      const { firstIndex, lastIndex, lastTerm } = part;
      const count = lastIndex - firstIndex + 1;
      const run = { firstIndex, count, term: lastTerm, block, offset };
      const moved = (): void => {
        log.index.pushMoved(run, segmentSeq);
      };
      // What is missing can be looked for in its new place at once; a copy is read there only when it has been written.
      if (cause === 'repair') moved();
      else this.#repaired.push(moved);
      writer.add(part.bytes);
      this.#moves.push({
        kind: 'rangeMoved',
        partitionId: log.partitionId,
        firstIndex,
        lastIndex,
        lastTerm,
        toSegment: segmentSeq,
        endOffset: 0,
        cause,
      });
    }
    if (done !== undefined) this.#repaired.push(done);
  }

  /** The ledger records that cover what was sealed: configurations first, then one record per partition, then moves. */
  records(
    sealed: readonly PendingAppend[],
    place: { readonly endOffset: number; readonly bytes: number },
  ): LedgerRecord[] {
    const { endOffset } = place;
    this.flushes++;
    chargePadding(sealed, place.bytes);
    const records: LedgerRecord[] = this.#moves.map((move) => ({ ...move, endOffset }));
    if (this.#moves.length > 0) this.#moves = [];
    for (const { log, batch } of sealed) {
      for (const configuration of batch.configurations ?? []) {
        records.push({ kind: 'configuration', partitionId: log.partitionId, configuration });
      }
    }
    for (const [log, { lastIndex, lastTerm }] of this.#newest) {
      const commitIndex = Math.min(log.commitIndex, lastIndex) as LogIndex;
      records.push({
        kind: 'durability',
        partitionId: log.partitionId,
        term: lastTerm,
        index: lastIndex,
        commitIndex,
      });
    }
    return records;
  }

  /** Tells each partition what is durable now. */
  complete(listener: LogStoreListener, ledgerSequence: number): void {
    const completed = this.#newest;
    this.#newest = new Map();
    const repaired = this.#repaired;
    this.#repaired = [];
    for (const [log, { appendSequence, lastIndex, lastTerm }] of completed) {
      listener.appendDurable(log, { appendSequence, lastIndex, lastTerm, ledgerSequence });
    }
    for (const done of repaired) done();
  }
}

/** What blocks take besides frames is charged to the partitions of the flush, by their share of the frames (regression 69). */
function chargePadding(sealed: readonly PendingAppend[], flushBytes: number): void {
  const frameBytes = sealed.reduce((sum, { batch }) => sum + batch.bytes.length, 0);
  const factor = flushBytes / frameBytes - 1;
  for (const { log, batch } of sealed) log.frameBytes += batch.bytes.length * factor;
}
