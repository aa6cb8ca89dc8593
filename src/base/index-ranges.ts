/** Sets of log indexes as ascending ranges that neither overlap nor touch. Plain data; every function gives a new list. */
import type { LogIndex } from './ids.ts';

/** Indexes `firstIndex … lastIndex`, at least one. @public */
export interface IndexRange {
  readonly firstIndex: LogIndex;
  readonly lastIndex: LogIndex;
}

/** `ranges` with `added` in it. */
export function withRange(ranges: readonly IndexRange[], added: IndexRange): IndexRange[] {
  let { firstIndex, lastIndex } = added;
  const apart: IndexRange[] = [];
  for (const range of ranges) {
    if (range.lastIndex + 1 < firstIndex || range.firstIndex > lastIndex + 1) {
      apart.push(range);
      continue;
    }
    if (range.firstIndex < firstIndex) firstIndex = range.firstIndex;
    if (range.lastIndex > lastIndex) lastIndex = range.lastIndex;
  }
  return [...apart, { firstIndex, lastIndex }].sort(
    (left, right) => left.firstIndex - right.firstIndex,
  );
}

/** `ranges` without the indexes of `removed`. */
export function withoutRange(ranges: readonly IndexRange[], removed: IndexRange): IndexRange[] {
  return ranges.flatMap((range) => cutRange(range, removed));
}

/** What is left of one range, whatever else it carries: none, one or two parts. */
export function cutRange<R extends IndexRange>(range: R, removed: IndexRange): R[] {
  if (range.lastIndex < removed.firstIndex || range.firstIndex > removed.lastIndex) return [range];
  const parts: R[] = [];
  if (range.firstIndex < removed.firstIndex)
    parts.push({ ...range, lastIndex: (removed.firstIndex - 1) as LogIndex });
  if (range.lastIndex > removed.lastIndex)
    parts.push({ ...range, firstIndex: (removed.lastIndex + 1) as LogIndex });
  return parts;
}

/** At most `countMax` ranges that hold everything `ranges` holds: the closest ones are joined. */
export function coarsened(ranges: readonly IndexRange[], countMax: number): IndexRange[] {
  const joined = [...ranges];
  while (joined.length > countMax) {
    let at = 1;
    const gap = (position: number): number =>
      (joined[position]?.firstIndex ?? 0) - (joined[position - 1]?.lastIndex ?? 0);
    for (let position = 2; position < joined.length; position++)
      if (gap(position) < gap(at)) at = position;
    const [left, right] = [joined[at - 1], joined[at]];
    if (left === undefined || right === undefined) break;
    joined.splice(at - 1, 2, { firstIndex: left.firstIndex, lastIndex: right.lastIndex });
  }
  return joined;
}

/** How many indexes the ranges hold. */
export function countOf(ranges: readonly IndexRange[]): number {
  return ranges.reduce((sum, range) => sum + range.lastIndex - range.firstIndex + 1, 0);
}
