/** The disk of a replica in an explored world: what it holds, and what it is asked for. Values, like worlds. */
import { assert } from '../../src/base/assert.ts';
import type { Term } from '../../src/base/ids.ts';
import type { Configuration } from '../../src/base/membership.ts';
import type { Vote } from '../../src/raft/index.ts';

/** What a core has asked its disk for. */
export type DiskRequest =
  | { readonly kind: 'hardState'; readonly term: Term; readonly votedFor: Vote | undefined }
  | { readonly kind: 'truncate'; readonly fromIndex: number }
  | {
      readonly kind: 'append';
      readonly sequence: number;
      readonly firstIndex: number;
      readonly terms: readonly number[];
    };

/** The last entry that a snapshot, or the beginning of a log that is gone, stands for. */
export interface ExploredPlace {
  readonly index: number;
  readonly term: number;
  readonly configuration: Configuration;
}

/** A snapshot, and the term of its replica when it was taken: never older than the one in which its last entry was committed. */
export interface ExploredSnapshot extends ExploredPlace {
  readonly takenIn: Term;
}

/** What a disk holds. */
export interface ExploredDisk {
  readonly term: Term;
  readonly votedFor: Vote | undefined;
  readonly base: ExploredPlace;
  /** Terms of the entries behind the base. */
  readonly terms: readonly number[];
  readonly snapshot: ExploredSnapshot | undefined;
}

/** Index of the last entry. */
export function lastIndexOf({ base, terms }: ExploredDisk): number {
  return base.index + terms.length;
}

/** Whether the disk holds the entry, itself or by what stands for the beginning of its log. */
export function holdsEntry({ base, terms }: ExploredDisk, index: number, term: number): boolean {
  return index <= base.index || terms[index - base.index - 1] === term;
}

/** The disk once a request is written. */
export function written(disk: ExploredDisk, request: DiskRequest): ExploredDisk {
  switch (request.kind) {
    case 'hardState':
      return { ...disk, term: request.term, votedFor: request.votedFor };
    case 'truncate':
      assert(
        request.fromIndex > (disk.snapshot?.index ?? 0),
        'what a snapshot stands for is never truncated',
      );
      return { ...disk, terms: disk.terms.slice(0, request.fromIndex - disk.base.index - 1) };
    case 'append':
      assert(lastIndexOf(disk) === request.firstIndex - 1, 'a disk is written without a gap');
      return { ...disk, terms: [...disk.terms, ...request.terms] };
  }
}

/** What tells disks apart: a configuration is told by the entry that brought it. */
export function describeDisk({ term, votedFor, base, terms, snapshot }: ExploredDisk): object {
  const taken = snapshot && [...describePlace(snapshot), snapshot.takenIn];
  return [term, votedFor, describePlace(base), terms, taken];
}

function describePlace({ index, term, configuration }: ExploredPlace): readonly number[] {
  return [index, term, configuration.index, configuration.term];
}
