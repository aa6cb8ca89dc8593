/**
 * Whether entries that came from a peer are this log's own: with evidence that both logs share behind them, whole frames of the
 * partition, in order, and of the terms that are known here (specification §5.6).
 */
import type { LogIndex, Term } from '../base/ids.ts';
import type { IndexRange } from '../base/index-ranges.ts';
import { checkFrames } from '../codec/entry-frame.ts';
import type { FrameBatch, TermPiece } from '../storage/log-store-types.ts';
import type { KnownLog, LogPosition } from './known-log.ts';
import type { RepairResponse } from './repair-server.ts';

/** Verdict on an answer. */
export type RepairCheck =
  | { readonly kind: 'good'; readonly batch: FrameBatch; readonly pieces: readonly TermPiece[] }
  | { readonly kind: 'bad'; readonly reason: string };

/** Checks an answer against what was asked and what is known of the own log. */
export function checkRepair(
  response: RepairResponse,
  own: {
    readonly known: KnownLog;
    readonly asked: { readonly range: IndexRange; readonly evidence: readonly LogPosition[] };
  },
): RepairCheck {
  const { firstIndex, entryCount, evidenceIndex, evidenceTerm } = response;
  const { range, evidence } = own.asked;
  const lastIndex = (firstIndex + entryCount - 1) as LogIndex;
  if (entryCount === 0 || firstIndex < range.firstIndex || lastIndex > range.lastIndex)
    return bad('it holds other entries than those that were asked for');
  if (!evidence.some(({ index, term }) => index === evidenceIndex && term === evidenceTerm))
    return bad('it rests on no position of this log');
  const { partitionId, entries } = response;
  const prevTerm = own.known.termAt((firstIndex - 1) as LogIndex) ?? (0 as Term);
  const frames = checkFrames(entries, { partitionId, firstIndex, count: entryCount, prevTerm });
  if (frames.kind === 'bad') return bad(frames.reason);
  const pieces = piecesOf(frames.termRuns, lastIndex);
  for (const { firstIndex: from, lastIndex: to, term } of pieces)
    for (let index = from as number; index <= to; index++)
      if ((own.known.termAt(index as LogIndex) ?? term) !== term)
        return bad(`entry ${index} is of another term here`);
  const behind = own.known.termAt((lastIndex + 1) as LogIndex);
  if (behind !== undefined && frames.lastTerm > behind)
    return bad('the entry behind it is of an older term here');
  return {
    kind: 'good',
    batch: { firstIndex, lastIndex, lastTerm: frames.lastTerm, bytes: entries },
    pieces,
  };
}

function piecesOf(termRuns: readonly number[], lastIndex: LogIndex): TermPiece[] {
  const pieces: TermPiece[] = [];
  for (let pair = 0; pair < termRuns.length; pair += 2) {
    const next = termRuns[pair + 2];
    pieces.push({
      firstIndex: (termRuns[pair] ?? 0) as LogIndex,
      lastIndex: (next === undefined ? lastIndex : next - 1) as LogIndex,
      term: (termRuns[pair + 1] ?? 0) as Term,
    });
  }
  return pieces;
}

function bad(reason: string): RepairCheck {
  return { kind: 'bad', reason };
}
