/**
 * What a leader knows of one follower, and how much it may have in flight to it.
 *
 * probe: one append at a time until the logs are known to meet. replicate: appends are pipelined within a window of
 * entries and bytes. snapshot: the entries it needs are gone; it is only asked, once a heartbeat, whether it has come to
 * the start of the log by a snapshot.
 * A probe's next index is no evidence of a match (the match index moves only by a DurabilityAck of this term).
 */
import { dropFirst } from '../base/arrays.ts';
import { assert } from '../base/assert.ts';
import type { LogIndex } from '../base/ids.ts';
import { isSameLife, type Member, type ReplicaLife } from '../base/membership.ts';

/** One append in flight. */
export interface Inflight {
  readonly lastIndex: LogIndex;
  readonly entries: number;
  readonly bytes: number;
}

/** A follower seen from its leader. */
export interface Progress {
  member: Member;
  state: 'probe' | 'replicate' | 'snapshot';
  /** Durable at the follower and equal to the own log, by its own word in this term. */
  matchIndex: LogIndex;
  /** It has acknowledged something in this term. */
  isMatchKnown: boolean;
  /** Next index to send. Invariant: above `matchIndex` unless the follower itself reported a shorter log. */
  nextIndex: LogIndex;
  /** A probe is out; wait for its answer or the next heartbeat. */
  isProbeSent: boolean;
  inflight: Inflight[];
  inflightEntries: number;
  inflightBytes: number;
  /** Bytes that an observer may still be sent; below zero after an append that was larger. */
  creditBytes: number;
  /** When its credit was last filled up. */
  creditTick: number;
  /** Tick of the newest message of this term. */
  heardTick: number;
  /** Tick of the newest moment whose log it is known to have held: behind a steady load it trails by a round trip. */
  caughtUpTick: number;
  /** The end of the log at `lagMarkTick`; when the match reaches it, that is the moment. */
  lagMarkIndex: LogIndex;
  lagMarkTick: number;
  echoedRound: number;
  /** Newest round at which it went to sleep. */
  restedRound: number;
  /** Tick at which the newest round flagged `lease` that it echoed was sent; -1 for none. */
  leaseTick: number;
  /** For how long it withholds its vote behind such a round; 0 while it has not said so. */
  electionTimeoutMsMin: number;
  /** Its clocks disagree. */
  clockAlarm: boolean;
  /** Newest ledger flush that it named; older acknowledgements are late. */
  ledgerSeq: number;
  /** Its node came up anew: the first word decides whether its ledger went back. */
  isBootFresh: boolean;
  /** It lost what it had acknowledged; counted for nothing (KER-9). */
  inDoubt: boolean;
}

/** A follower of which nothing is known. */
export function createProgress(member: Member, nextIndex: LogIndex, now: number): Progress {
  return {
    member,
    state: 'probe',
    matchIndex: 0 as LogIndex,
    isMatchKnown: false,
    nextIndex,
    isProbeSent: false,
    inflight: [],
    inflightEntries: 0,
    inflightBytes: 0,
    creditBytes: 0,
    creditTick: now,
    heardTick: now,
    caughtUpTick: now,
    lagMarkIndex: (nextIndex - 1) as LogIndex,
    lagMarkTick: now,
    echoedRound: 0,
    restedRound: 0,
    leaseTick: -1,
    electionTimeoutMsMin: 0,
    clockAlarm: false,
    ledgerSeq: 0,
    isBootFresh: false,
    inDoubt: false,
  };
}

/** Row of a follower, in one life. */
export function findProgress(rows: readonly Progress[], life: ReplicaLife): Progress | undefined {
  for (const progress of rows) if (isSameLife(progress.member, life)) return progress;
  return undefined;
}

/** Goes back to probing from `nextIndex`; whatever was in flight is taken as lost. */
export function becomeProbe(progress: Progress, nextIndex: LogIndex): void {
  assert(nextIndex > 0, 'the first entry has index 1');
  progress.state = 'probe';
  progress.nextIndex = nextIndex;
  progress.isProbeSent = false;
  progress.inflight = [];
  progress.inflightEntries = 0;
  progress.inflightBytes = 0;
}

/** The logs meet at the match index: pipeline from there. */
export function becomeReplicate(progress: Progress): void {
  progress.state = 'replicate';
  progress.nextIndex = (progress.matchIndex + 1) as LogIndex;
  progress.isProbeSent = false;
  progress.inflight = [];
  progress.inflightEntries = 0;
  progress.inflightBytes = 0;
}

/** What it needs next is gone: nothing is sent until a snapshot has brought it to the start of the log. */
export function becomeSnapshot(progress: Progress): void {
  progress.state = 'snapshot';
  progress.isProbeSent = false;
  progress.inflight = [];
  progress.inflightEntries = 0;
  progress.inflightBytes = 0;
}

/** Credit of an observer that has taken nothing for a while, in ticks: no more gathers. */
const creditTicksMax = 10;

/**
 * Whether it may be sent entries now. Everybody may but an observer beyond its share: a bucket that fills with time, and
 * that the append which empties it may overdraw.
 */
export function mayStream(progress: Progress, now: number, bytesPerTick: number): boolean {
  if (progress.member.role !== 'observer') return true;
  const filled = progress.creditBytes + (now - progress.creditTick) * bytesPerTick;
  progress.creditBytes = Math.min(filled, creditTicksMax * bytesPerTick);
  progress.creditTick = now;
  return progress.creditBytes > 0;
}

/**
 * What really left of an append to an observer: the entries up to `lastIndex`, and so many bytes more than was thought. What
 * did not leave is sent again later.
 */
export function noteStreamed(
  progress: Progress,
  streamed: { readonly lastIndex: LogIndex; readonly extraBytes: number },
): void {
  progress.creditBytes -= streamed.extraBytes;
  if (progress.state !== 'replicate' || progress.nextIndex <= streamed.lastIndex + 1) return;
  progress.nextIndex = (Math.max(streamed.lastIndex, progress.matchIndex) + 1) as LogIndex;
  while ((progress.inflight.at(-1)?.lastIndex ?? 0) >= progress.nextIndex) {
    const unsent = progress.inflight.pop();
    progress.inflightEntries -= unsent?.entries ?? 0;
    progress.inflightBytes -= unsent?.bytes ?? 0;
  }
}

/** Notes how far it lags in time, when its match index has moved. */
export function noteLag(progress: Progress, lastIndex: LogIndex, now: number): void {
  if (progress.matchIndex >= progress.lagMarkIndex) {
    progress.caughtUpTick = Math.max(progress.caughtUpTick, progress.lagMarkTick);
    progress.lagMarkIndex = lastIndex;
    progress.lagMarkTick = now;
  }
  if (progress.matchIndex === lastIndex) progress.caughtUpTick = now;
}

/** For how many ticks it has not held what the log then held. */
export function lagTicks(progress: Progress, lastIndex: LogIndex, now: number): number {
  return progress.matchIndex === lastIndex ? 0 : now - progress.caughtUpTick;
}

/** Notes an append in flight. */
export function addInflight(progress: Progress, inflight: Inflight): void {
  const newest = progress.inflight.at(-1);
  assert(newest === undefined || newest.lastIndex < inflight.lastIndex, 'appends in flight rise');
  progress.inflight.push(inflight);
  progress.inflightEntries += inflight.entries;
  progress.inflightBytes += inflight.bytes;
}

/** Frees the window up to an acknowledged index. */
export function freeInflight(progress: Progress, index: LogIndex): void {
  let freed = 0;
  for (const row of progress.inflight) {
    if (row.lastIndex > index) break;
    progress.inflightEntries -= row.entries;
    progress.inflightBytes -= row.bytes;
    freed++;
  }
  dropFirst(progress.inflight, freed);
  assert(progress.inflightEntries >= 0, 'entries in flight are not negative');
  assert(progress.inflightBytes >= 0, 'bytes in flight are not negative');
}
