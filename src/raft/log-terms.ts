/**
 * What the core knows of its log: which term stands at which index, as runs of equal terms.
 *
 * Terms never fall along a log, so a log of any length is as many runs as it saw reigns: cheap to clone, to compare and to
 * search, and no entry is ever read for log matching.
 */
import { assert } from '../base/assert.ts';
import type { LogIndex, Term } from '../base/ids.ts';

/** Terms of a log above its base. Invariant: run starts rise strictly, run terms rise strictly. */
export interface LogTerms {
  /** Index below which nothing is kept (a snapshot's base); 0 for a whole log. */
  baseIndex: LogIndex;
  /** Term of the entry at the base. */
  baseTerm: Term;
  /** Last appended index. */
  lastIndex: LogIndex;
  /** First index of each run. */
  runFirst: LogIndex[];
  /** Term of each run. */
  runTerm: Term[];
}

/** A log without entries above `baseIndex`. */
export function emptyLogTerms(baseIndex: LogIndex, baseTerm: Term): LogTerms {
  return { baseIndex, baseTerm, lastIndex: baseIndex, runFirst: [], runTerm: [] };
}

/** Term of the last entry. */
export function lastTerm(log: LogTerms): Term {
  return log.runTerm.at(-1) ?? log.baseTerm;
}

/** Term at `index`, or `undefined` below the base or past the end. */
export function termAt(log: LogTerms, index: LogIndex): Term | undefined {
  if (index === log.baseIndex) return log.baseTerm;
  if (index < log.baseIndex || index > log.lastIndex) return undefined;
  return log.runTerm[runOf(log, index)];
}

/** First index of the run that holds `index`, which must be above the base. */
export function firstIndexOfRun(log: LogTerms, index: LogIndex): LogIndex {
  assert(index > log.baseIndex && index <= log.lastIndex, 'a run is asked for an index of the log');
  return log.runFirst[runOf(log, index)] ?? index;
}

/** Last index whose term is at most `term`; the base when all entries are newer. */
export function lastIndexNotAfterTerm(log: LogTerms, term: Term): LogIndex {
  for (let run = log.runTerm.length - 1; run >= 0; run--) {
    if ((log.runTerm[run] ?? 0) <= term) {
      return run === log.runTerm.length - 1
        ? log.lastIndex
        : (((log.runFirst[run + 1] ?? 1) - 1) as LogIndex);
    }
  }
  return log.baseIndex;
}

/** Appends entries of one term up to `lastIndex`. */
export function appendTerms(log: LogTerms, lastIndex: LogIndex, term: Term): void {
  assert(lastIndex > log.lastIndex, 'an append makes the log longer');
  const newest = lastTerm(log);
  assert(term >= newest, 'terms never fall along a log');
  if (log.runTerm.length === 0 || term > newest) {
    log.runFirst.push((log.lastIndex + 1) as LogIndex);
    log.runTerm.push(term);
  }
  log.lastIndex = lastIndex;
}

/** Drops entries from `fromIndex` on. */
export function truncateTerms(log: LogTerms, fromIndex: LogIndex): void {
  assert(fromIndex > log.baseIndex, 'nothing at or below the base is truncated');
  assert(fromIndex <= log.lastIndex, 'a truncation removes at least one entry');
  while (log.runFirst.length > 0 && (log.runFirst[log.runFirst.length - 1] ?? 0) >= fromIndex) {
    log.runFirst.pop();
    log.runTerm.pop();
  }
  log.lastIndex = (fromIndex - 1) as LogIndex;
}

/** Drops what lies below `baseIndex`, where the log now begins. */
export function compactTerms(log: LogTerms, baseIndex: LogIndex): void {
  const baseTerm = termAt(log, baseIndex);
  assert(baseTerm !== undefined, 'a log begins behind one of its entries');
  const runs = runsBehind(log, baseIndex);
  log.baseIndex = baseIndex;
  log.baseTerm = baseTerm;
  log.runFirst = runs.map(({ firstIndex }) => firstIndex);
  log.runTerm = runs.map(({ term }) => term);
}

/** Runs of the entries behind `index`, which is in the log or its base. */
export function runsBehind(
  log: LogTerms,
  index: LogIndex,
): { readonly firstIndex: LogIndex; readonly term: Term }[] {
  assert(index >= log.baseIndex && index <= log.lastIndex, 'runs are cut within a log');
  if (index === log.lastIndex) return [];
  const from = runOf(log, (index + 1) as LogIndex);
  return log.runFirst.slice(from).map((first, position) => ({
    firstIndex: Math.max(first, index + 1) as LogIndex,
    term: log.runTerm[from + position] ?? log.baseTerm,
  }));
}

function runOf(log: LogTerms, index: LogIndex): number {
  let run = log.runFirst.length - 1;
  while (run > 0 && (log.runFirst[run] ?? 0) > index) run--;
  return run;
}
