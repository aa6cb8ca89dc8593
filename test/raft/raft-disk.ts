/** A disk in memory: what was synced, and what waits for the next sync. */
import { assert, present } from '../../src/base/assert.ts';
import { logIndex, term } from '../../src/base/ids.ts';
import type { Input, Vote } from '../../src/raft/index.ts';

/** What a core has asked its disk for. */
export type DiskRequest =
  | { readonly kind: 'hardState'; readonly term: number; readonly votedFor: Vote | undefined }
  | { readonly kind: 'truncate'; readonly fromIndex: number }
  | {
      readonly kind: 'append';
      readonly sequence: number;
      readonly firstIndex: number;
      readonly terms: readonly number[];
    };

/** What one replica's disk holds. */
export interface Disk {
  term: number;
  votedFor: Vote | undefined;
  readonly terms: number[];
  commitIndex: number;
  ledgerSeq: number;
  queue: DiskRequest[];
}

/** Syncs a request; returns what the core is told. */
export function writeToDisk(disk: Disk, request: DiskRequest): Input | undefined {
  switch (request.kind) {
    case 'hardState':
      disk.term = request.term;
      disk.votedFor = request.votedFor;
      return { kind: 'hardStateDurable', term: term(request.term), votedFor: request.votedFor };
    case 'truncate':
      assert(
        request.fromIndex > disk.commitIndex,
        'what is recorded as committed is never truncated',
      );
      disk.terms.length = request.fromIndex - 1;
      return undefined;
    case 'append':
      assert(disk.terms.length === request.firstIndex - 1, 'a disk is written without a gap');
      disk.terms.push(...request.terms);
      return {
        kind: 'durable',
        appendSequence: request.sequence,
        index: logIndex(disk.terms.length),
        term: term(present(request.terms.at(-1), 'an append has an entry')),
        ledgerSeq: disk.ledgerSeq,
      };
  }
}
