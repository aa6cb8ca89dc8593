/** The body of a `hold` record: a quarantine in which the log goes on, begun or over (specification §5.6). */
import type { Incarnation, LogIndex } from '../base/ids.ts';
import type { Layout } from './layout.ts';

/** Longer texts are cut when they are written; a UTF-16 unit has at most three bytes. */
const holdTextLengthMax = 256;
const holdTextBytesMax = 1024;

/** Reasons that stop applying and reading, and nothing else. @public */
export type HoldReason = 'ApplyFault' | 'Administrative';

/** What the ledger says of one. */
export interface HoldRow {
  readonly incarnation: Incarnation;
  readonly reason: HoldReason;
  readonly isActive: boolean;
  /** Wall time at which it began. */
  readonly sinceMs: number;
  /** The entry at which applying stopped; 0 where no entry is to blame. */
  readonly index: LogIndex;
  /** What the machine said, or why the operator wanted it. */
  readonly detail: string;
  /** Ticket of whoever set it, or ended it; empty where the system did. */
  readonly ticket: string;
}

/** Rows of which the newest of each reason counts, with one more. */
export function withHold(rows: readonly HoldRow[], row: HoldRow): readonly HoldRow[] {
  return [...rows.filter(({ reason }) => reason !== row.reason), row];
}

/** Its fields, behind the partition. */
export const holdLayout: Layout = [
  { name: 'incarnation', type: 'uuid', note: 'which life of the replica' },
  {
    name: 'reason',
    type: 'enum',
    // 1 is `Integrity`, which has a record of its own.
    values: { ApplyFault: 2, Administrative: 3 },
    note: '2 ApplyFault, 3 Administrative',
  },
  { name: 'isActive', type: 'bool', note: '0 when it is over' },
  { name: 'sinceMs', type: 'u64', note: 'wall time of its beginning' },
  {
    name: 'index',
    type: 'u64',
    note: 'the entry at which applying stopped; 0 where none is to blame',
  },
  {
    name: 'detail',
    type: 'text',
    bytesMax: holdTextBytesMax,
    note: 'what the machine or the operator said',
  },
  {
    name: 'ticket',
    type: 'text',
    bytesMax: holdTextBytesMax,
    note: 'of whoever set or ended it; may be empty',
  },
];

/** The texts as they are written. */
export function cutTexts<Row extends HoldRow>(row: Row): Row {
  return {
    ...row,
    detail: row.detail.slice(0, holdTextLengthMax),
    ticket: row.ticket.slice(0, holdTextLengthMax),
  };
}
