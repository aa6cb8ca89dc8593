/** Counters of a store, gathered from its parts. */
import type { FileSystem } from '../ports/file-system.ts';
import type { ChainRunner } from './chain-runner.ts';
import type { DataFlush } from './data-flush.ts';
import type { DurabilityLedger } from './durability-ledger.ts';
import type { Journal } from './journal.ts';
import type { JournalKeys } from './journal-keys.ts';
import type { LedgerImage } from './ledger-image.ts';
import type { LogStoreStatistics } from './log-store-types.ts';
import { nonceAccounts } from './nonce-accounts.ts';

/** Where the counters are. */
export interface CountedParts {
  readonly journal: Journal;
  readonly ledger: DurabilityLedger;
  readonly image: LedgerImage;
  readonly keys: JournalKeys;
  readonly chains: ChainRunner;
  readonly dataFlush: DataFlush;
  readonly fileSystem: Pick<FileSystem, 'ioWriterMode'>;
  readonly retiredSegments: number;
}

/** Counters for status and metrics. */
export function storeStatistics(parts: CountedParts): LogStoreStatistics {
  const { journal, ledger, image, keys, chains, dataFlush, fileSystem } = parts;
  const { segment, endOffset } = journal.writer;
  const inUse = { segmentSeq: segment.segmentSeq, endOffset };
  return {
    flushes: chains.flushes,
    dataFlushes: dataFlush.flushes,
    entries: dataFlush.entries,
    entryBytes: dataFlush.entryBytes,
    journalBytesWritten: journal.bytesWritten,
    journalBytes: journal.bytes,
    segmentsRetired: parts.retiredSegments,
    ...inUse,
    ledgerSequence: ledger.syncedFlushSeq,
    ledgerGeneration: ledger.generation,
    ioWriterMode: fileSystem.ioWriterMode,
    ...nonceAccounts(image, keys, inUse),
    ...chains.summary(),
    scrub: journal.scrubStatistics,
  };
}
