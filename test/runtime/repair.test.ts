/** Asking for entries, giving them, and believing them (specification §5.6). */
import { describe, expect, test } from 'vitest';

import { logIndex, nodeId, partitionId, term, type LogIndex } from '../../src/base/ids.ts';
import { KnownLog } from '../../src/runtime/known-log.ts';
import type { PeerLinks } from '../../src/runtime/peer-links.ts';
import { checkRepair } from '../../src/runtime/repair-check.ts';
import {
  RepairServer,
  type RepairRequest,
  type RepairResponse,
} from '../../src/runtime/repair-server.ts';
import type { RecoveredPartition } from '../../src/storage/log-store-types.ts';
import type { PartitionLog } from '../../src/storage/partition-log.ts';
import { createCore, lifeOf } from '../raft/core-driver.ts';
import { frames } from '../storage/model-frames.ts';

const partition = partitionId('018c0d6c-9c11-7e9d-8000-000000000001');

function piece(first: number, last: number, inTerm: number) {
  return { firstIndex: logIndex(first), lastIndex: logIndex(last), term: term(inTerm) };
}

/** Entries 1 to 9: terms 1 1 _ _ 2 2 _ 2 _; the ledger says that entry 9 is of term 3. */
function holed(): KnownLog {
  return KnownLog.ofRecovered({ baseIndex: logIndex(0), baseTerm: term(0) } as RecoveredPartition, {
    missing: [range(3, 4), range(7, 7), range(9, 9)],
    readable: [piece(1, 2, 1), piece(5, 6, 2), piece(8, 8, 2)],
    endIndex: logIndex(9),
    endTerm: term(3),
    commitIndex: logIndex(8),
    sinceMs: undefined,
    begunMs: [],
  });
}

function range(first: number, last: number) {
  return { firstIndex: logIndex(first), lastIndex: logIndex(last) };
}

describe('what a damaged log knows', () => {
  test('is the term of what it can read, of its end, and of holes within one term', () => {
    const known = holed();

    const terms = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map((index) => known.termAt(logIndex(index)));

    expect(terms).toEqual([0, 1, 1, undefined, undefined, 2, 2, 2, 2, 3, undefined]);
  });

  test('is evidence at and behind what it lacks', () => {
    const evidence = holed().evidenceFrom(logIndex(4));

    expect(evidence).toContainEqual({ index: 5, term: 2 });
    expect(evidence).toContainEqual({ index: 9, term: 3 });
    expect(evidence.every(({ index }) => index >= 4)).toBe(true);
  });

  test('is whole once everything was repaired', () => {
    const known = holed();
    known.repaired([piece(3, 3, 1), piece(4, 4, 2), piece(7, 7, 2), piece(9, 9, 3)]);

    expect(known.missing).toEqual([]);
    expect(known.whole()).toMatchObject({
      termRuns: [
        { firstIndex: 1, term: 1 },
        { firstIndex: 4, term: 2 },
        { firstIndex: 9, term: 3 },
      ],
      lastIndex: 9,
      recordedCommitIndex: 8,
    });
  });

  test('names what can be read of a range', () => {
    const known = holed();

    expect(known.readableWithin(range(3, 7))).toEqual(range(5, 6));
    expect(known.readableWithin(range(7, 7))).toBeUndefined();
    expect(known.readableWithin(range(9, 12))).toBeUndefined();
  });
});

describe('an answer', () => {
  const asked = { range: range(3, 4), evidence: [{ index: logIndex(5), term: term(2) }] };
  const answer = (change: Partial<RepairResponse> = {}): RepairResponse => ({
    kind: 'repairResponse',
    partitionId: partition,
    toIncarnation: lifeOf(1),
    fromReplica: createCore({ self: 2 }).selfReplica,
    fromIncarnation: lifeOf(2),
    sequence: 1,
    outcome: 'entries',
    evidenceIndex: logIndex(5),
    evidenceTerm: term(2),
    firstIndex: logIndex(3),
    entryCount: 2,
    entries: frames(partition, [
      { index: 3, term: 1, payload: 'c' },
      { index: 4, term: 2, payload: 'd' },
    ]).bytes,
    ...change,
  });

  test('with entries that fit is believed', () => {
    expect(checkRepair(answer(), { known: holed(), asked })).toMatchObject({
      kind: 'good',
      pieces: [piece(3, 3, 1), piece(4, 4, 2)],
    });
  });

  const damagedBytes = answer().entries.slice();
  damagedBytes[60] = (damagedBytes[60] ?? 0) ^ 1;
  const bytesOf = (first: number, ...terms: readonly number[]): Uint8Array =>
    frames(
      partition,
      terms.map((value, at) => ({ index: first + at, term: value, payload: 'x' })),
    ).bytes;
  test.each<[string, Partial<RepairResponse>]>([
    ['rests on no evidence of ours', { evidenceTerm: term(3) }],
    ['rests on a place that was not named', { evidenceIndex: logIndex(6) }],
    ['holds nothing', { entryCount: 0, entries: new Uint8Array(0) }],
    ['holds other entries', { firstIndex: logIndex(2), entries: bytesOf(2, 1, 1) }],
    ['holds more than was asked for', { entryCount: 3, entries: bytesOf(3, 1, 1, 2) }],
    ['has a flipped bit', { entries: damagedBytes }],
    ['has terms above those behind it', { entries: bytesOf(3, 1, 3) }],
    ['has terms below those before it', { entries: bytesOf(3, 0, 2) }],
  ])('that %s is refused', (_, change) => {
    expect(checkRepair(answer(change), { known: holed(), asked }).kind).toBe('bad');
  });
});

describe('a peer that is asked', () => {
  const request: RepairRequest = {
    kind: 'repairRequest',
    partitionId: partition,
    toIncarnation: lifeOf(2),
    fromReplica: createCore({ self: 1 }).selfReplica,
    fromIncarnation: lifeOf(1),
    sequence: 1,
    firstIndex: logIndex(2),
    lastIndex: logIndex(3),
    evidence: [{ index: logIndex(4), term: term(2) }],
  };

  async function answersOf(
    terms: readonly number[],
    change: {
      readonly inDoubt?: boolean;
      readonly known?: KnownLog;
      /** Its log once the entries were read. */
      readonly later?: KnownLog;
      /** It falls into doubt while they are read. */
      readonly inDoubtLater?: boolean;
    } = {},
  ): Promise<readonly RepairResponse[]> {
    const sent: RepairResponse[] = [];
    const links = { get: () => ({ send: (message: RepairResponse) => sent.push(message) }) };
    const state = createCore({
      self: 2,
      log: terms,
      inDoubt: change.inDoubt ?? false,
      isQuarantined: change.known !== undefined,
    });
    let hasRead = false;
    const read = (first: LogIndex, last: LogIndex) => {
      hasRead = true;
      if (change.inDoubtLater === true) state.hasLostEvidence = true;
      return Promise.resolve(
        frames(
          partition,
          terms.slice(first - 1, last).map((value, at) => ({
            index: first + at,
            term: value,
            payload: 'x',
          })),
        ),
      );
    };
    const server = new RepairServer({
      state,
      log: { read } as unknown as PartitionLog,
      links: links as unknown as PeerLinks,
      known: () => (hasRead ? change.later : undefined) ?? change.known,
    });
    await server.serve(nodeId(1), request);
    return sent;
  }

  test('gives entries where both logs are of one term behind them', async () => {
    expect(await answersOf([1, 1, 2, 2])).toMatchObject([
      { outcome: 'entries', evidenceIndex: 4, evidenceTerm: 2, firstIndex: 2, entryCount: 2 },
    ]);
  });

  test('gives none where its log is of another term there, or ends before', async () => {
    expect(await answersOf([1, 1, 2, 3])).toMatchObject([{ outcome: 'noEvidence', entryCount: 0 }]);
    expect(await answersOf([1, 1, 2])).toMatchObject([{ outcome: 'noEvidence', entryCount: 0 }]);
  });

  test('gives none when it may have forgotten what was cut, and says so: it is waited for', async () => {
    expect(await answersOf([1, 1, 2, 2], { inDoubt: true })).toMatchObject([
      { outcome: 'noEvidence', entryCount: 0 },
    ]);
  });

  test('gives none when it falls into doubt while its log is read', async () => {
    expect(await answersOf([1, 1, 2, 2], { inDoubtLater: true })).toMatchObject([
      { outcome: 'noEvidence', entryCount: 0 },
    ]);
  });

  test('gives none when its log is cut while it is read', async () => {
    const later = KnownLog.ofCore(createCore({ self: 2, log: [1, 1] }));

    expect(await answersOf([1, 1, 2, 2], { later })).toMatchObject([
      { outcome: 'noEvidence', entryCount: 0 },
    ]);
  });

  test('gives what it can read when it is damaged itself', async () => {
    const known = KnownLog.ofCore(createCore({ self: 2, log: [1, 1, 2, 2] }));
    known.damaged(range(2, 2));
    expect(await answersOf([1, 1, 2, 2], { known })).toMatchObject([
      { outcome: 'entries', firstIndex: 3, entryCount: 1 },
    ]);
    known.damaged(range(3, 3));
    expect(await answersOf([1, 1, 2, 2], { known })).toMatchObject([{ outcome: 'damaged' }]);
  });
});
