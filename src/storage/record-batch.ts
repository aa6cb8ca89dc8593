/** Ledger records that wait for a flush of their own. */
import type { LedgerRecord } from '../codec/ledger-records.ts';
import type { HardState } from './log-store-types.ts';
import type { PartitionLog } from './partition-log.ts';

/** A record that waits for a ledger flush. */
export interface PendingRecord {
  readonly record: LedgerRecord;
  readonly log?: PartitionLog | undefined;
  readonly hardState?: HardState | undefined;
  readonly done?: (() => void) | undefined;
}

/** What is left to write of records that waited together: of each partition's terms and votes only the newest. */
export function recordBatch(pending: readonly PendingRecord[]): {
  readonly records: readonly LedgerRecord[];
  readonly newest: ReadonlyMap<PartitionLog, HardState>;
} {
  const newest = new Map<PartitionLog, HardState>();
  for (const { log, hardState } of pending)
    if (log !== undefined && hardState !== undefined) newest.set(log, hardState);
  const isCurrent = ({ log, hardState }: PendingRecord): boolean =>
    log === undefined || hardState === undefined || newest.get(log) === hardState;
  return { records: pending.filter(isCurrent).map(({ record }) => record), newest };
}
