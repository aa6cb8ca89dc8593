/** The body of a `hold` record: a quarantine in which the log goes on, begun or over (specification §5.6). */
import type { ByteReader, ByteWriter } from '../base/bytes.ts';
import { ClustorError } from '../base/errors.ts';
import type { Incarnation, LogIndex } from '../base/ids.ts';

const holdReasons = ['ApplyFault', 'Administrative'] as const;
/** Number of the first of these reasons; 1 is `Integrity`, which has a record of its own. */
const holdReasonFirst = 2;
/** Longer texts are cut when they are written; a UTF-16 unit has at most three bytes. */
const holdTextLengthMax = 256;
const holdTextBytesMax = 1024;

/** Reasons that stop applying and reading, and nothing else. @public */
export type HoldReason = (typeof holdReasons)[number];

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

/** Writes one. */
export function writeHold(writer: ByteWriter, row: HoldRow): void {
  writer.uuid(row.incarnation);
  writer.u8(holdReasonFirst + holdReasons.indexOf(row.reason));
  writer.bool(row.isActive);
  writer.u64(row.sinceMs);
  writer.u64(row.index);
  writer.text(row.detail.slice(0, holdTextLengthMax));
  writer.text(row.ticket.slice(0, holdTextLengthMax));
}

/** Reads one. @throws ClustorError `CLUSTOR_FORMAT_UNSUPPORTED` for an unknown reason. */
export function readHold(reader: ByteReader): HoldRow {
  const incarnation = reader.uuid() as Incarnation;
  const number = reader.u8();
  const reason = holdReasons[number - holdReasonFirst];
  if (reason === undefined)
    throw new ClustorError(
      'CLUSTOR_FORMAT_UNSUPPORTED',
      `a ledger record holds a replica for the unknown reason ${number}`,
    );
  return {
    incarnation,
    reason,
    isActive: reader.bool(),
    sinceMs: reader.u64(),
    index: reader.u64() as LogIndex,
    detail: reader.text(holdTextBytesMax),
    ticket: reader.text(holdTextBytesMax),
  };
}
