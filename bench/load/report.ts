/** Tables of load results: one line per target and depth, medians over the rounds. */
import { milliseconds, perSecond, printTable } from '../setup/table.ts';
import type { LoadResult } from './generator.ts';
import { median } from './histogram.ts';

/** Prints a table of results of several rounds on standard error. */
export function printLoadTable(results: readonly LoadResult[]): void {
  const groups = new Map<string, LoadResult[]>();
  for (const result of results) {
    const group = groups.get(groupOf(result));
    if (group === undefined) groups.set(groupOf(result), [result]);
    else group.push(result);
  }
  const rows = [
    [
      ...['target', 'outstanding', 'acks/s', 'p50 ms', 'p99 ms', 'p99.9 ms', 'max ms'],
      ...['entries/sync', 'server CPU', 'client CPU', 'RSS MiB', 'written/ack', 'errors'],
    ],
  ];
  for (const group of groups.values()) rows.push(rowOf(group));
  printTable('Load, medians over the rounds; CPU in cores', rows);
}

/** The median of one figure over all results of a target at a depth; 0 without any. */
export function medianOf(
  results: readonly LoadResult[],
  target: string,
  outstanding: number,
  read: (result: LoadResult) => number,
): number {
  return median(
    results
      .filter((result) => result.target === target && result.outstanding === outstanding)
      .map(read),
  );
}

function groupOf(result: LoadResult): string {
  return `${result.target} ${String(result.outstanding)} ${String(result.ratePerSecond)}`;
}

function rowOf(group: readonly LoadResult[]): string[] {
  const [first] = group;
  if (first === undefined) return [];
  const of = (read: (result: LoadResult) => number): number => median(group.map(read));
  const cores = (read: (result: LoadResult) => number): string =>
    of((result) => read(result) / result.consumption.seconds).toFixed(2);
  const mebibytes = of((result) => Math.max(...result.consumption.serverResidentBytes)) / 2 ** 20;
  return [
    first.ratePerSecond === undefined
      ? first.target
      : `${first.target} at ${perSecond(first.ratePerSecond)}/s`,
    String(first.outstanding),
    perSecond(of((result) => result.acksPerSecond)),
    milliseconds(of((result) => result.latencyMicroseconds.p50)),
    milliseconds(of((result) => result.latencyMicroseconds.p99)),
    milliseconds(of((result) => result.latencyMicroseconds.p999)),
    milliseconds(of((result) => result.latencyMicroseconds.max)),
    first.entriesPerFlush === undefined
      ? '–'
      : of((result) => result.entriesPerFlush ?? 0).toFixed(1),
    cores((result) => result.consumption.serverCpuSeconds),
    cores((result) => result.consumption.clientCpuSeconds),
    mebibytes.toFixed(0),
    of(
      (result) =>
        result.consumption.serverWrittenBytes /
        Math.max(1, result.acksPerSecond * result.consumption.seconds),
    ).toFixed(0),
    String(group.reduce((total, result) => total + result.errorCount, 0)),
  ];
}
