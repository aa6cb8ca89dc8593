/** What offline tools say of logs that begin behind a snapshot (specification §7, §8.1). */
import { describe, expect, test } from 'vitest';

import { present } from '../../src/base/assert.ts';
import { logIndex, term, type LogIndex } from '../../src/base/ids.ts';
import type { LedgerRecord } from '../../src/codec/ledger-records.ts';
import { segmentFileName } from '../../src/codec/segment-format.ts';
import { nodeCryptography } from '../../src/security/node-cryptography.ts';
import { dumpEntries } from '../../src/storage/dump-entries.ts';
import {
  gatherEvidence,
  syncBeforeReading,
  type DirectoryEvidence,
} from '../../src/storage/entry-evidence.ts';
import { inspectDataDirectory } from '../../src/storage/inspect.ts';
import { listLedger } from '../../src/storage/ledger-listing.ts';
import { verifyDirectory, type DirectoryVerification } from '../../src/storage/verify-directory.ts';
import type { CrashKind } from '../../src/testing/sim-file-system.ts';
import { configurationOf, modelOf } from './compaction-world.ts';
import { append, begin, compact, logOf, takeSnapshot } from './snapshotted-world.ts';
import type { PartitionModel, StoreWorld } from './store-world.ts';

const largeBytes = 900_000;
const crashes: readonly CrashKind[] = ['powerLoss', 'processKill'];

async function verified(world: StoreWorld): Promise<DirectoryVerification> {
  const result = verifyDirectory(world.place(), nodeCryptography);
  return present(await world.settle(result), 'the directory was read');
}

function damageIn({ findings }: DirectoryVerification): readonly string[] {
  return findings
    .filter(({ severity }) => severity === 'damage')
    .map(({ where, what }) => `${where}: ${what}`);
}

async function evidenceOf(world: StoreWorld, model: PartitionModel): Promise<DirectoryEvidence> {
  const fileSystem = world.reader();
  await world.settle(syncBeforeReading(fileSystem, '/data'));
  const question = {
    partitionId: model.id,
    indexes: new Set(Array.from({ length: 100 }, (_, at) => logIndex(at + 1))),
    cryptography: nodeCryptography,
  };
  const evidence = gatherEvidence(world.place(fileSystem), question);
  return present(await world.settle(evidence), 'the directory was read');
}

/** Indexes by what is said of them. */
function indexesOf({ findings }: DirectoryEvidence, kind: string): readonly number[] {
  return [...findings.values()].filter((row) => row.kind === kind).map(({ index }) => index);
}

async function dumped(world: StoreWorld, model: PartitionModel): Promise<readonly number[]> {
  const indexes: number[] = [];
  await world.settle(
    dumpEntries(world.place(), {
      partitionId: model.id,
      firstIndex: logIndex(1),
      lastIndex: logIndex(Number.MAX_SAFE_INTEGER),
      onEntry: ({ index, isCovered }) => {
        if (isCovered) indexes.push(index);
      },
    }),
  );
  return indexes;
}

async function recordsOf(world: StoreWorld): Promise<readonly (readonly LedgerRecord[])[]> {
  const [newest] = present(await world.settle(listLedger(world.place())), 'the ledger');
  return newest?.flushes.map(({ flush }) => flush.records) ?? [];
}

function from(first: number, last: number): readonly number[] {
  return Array.from({ length: last - first + 1 }, (_, at) => first + at);
}

function damagePart(world: StoreWorld, model: PartitionModel, name: string, part: string): void {
  const path = `/data/partitions/${model.id}/snapshot/${name}/chunks/${part}`;
  expect(world.disk.flipBit(path, 100, 1)).toBe(true);
}

describe.each([
  { what: 'plain', isEncrypted: false, part: '000002' },
  { what: 'encrypted', isEncrypted: true, part: '000002.sealed' },
])('a $what log that begins behind entry 6', ({ isEncrypted, part }) => {
  async function compacted(): Promise<{ world: StoreWorld; model: PartitionModel }> {
    const world = await begin({ isEncrypted });
    const model = modelOf(world);
    await takeSnapshot(world, model, { index: 6 });
    await compact(world, model, 6);
    return { world, model };
  }

  test.each(crashes)('is whole, and what it lost is proven by its snapshot (%s)', async (kind) => {
    const { world, model } = await compacted();
    world.crash(kind);

    const verification = await verified(world);
    const evidence = await evidenceOf(world, model);

    expect(damageIn(verification)).toEqual([]);
    expect(verification).toMatchObject({ isDamaged: false, snapshots: 1 });
    expect(verification.partitions[0]).toMatchObject({
      baseIndex: 6,
      entries: 4,
      firstIndex: 7,
      lastIndex: 10,
      coveredIndex: 10,
      missing: [],
      snapshots: [{ index: 6, term: 1, parts: 3, bytes: 10_000, fault: undefined, use: 'goesOn' }],
    });
    expect(await dumped(world, model)).toEqual(from(7, 10));
    expect(indexesOf(evidence, 'inSnapshot')).toEqual(from(1, 6));
    expect(indexesOf(evidence, 'held')).toEqual(from(7, 10));
    const hash = verification.partitions[0]?.snapshots[0]?.contentHash;
    expect(hash).toMatch(/^[0-9a-f]{64}$/);
    expect(evidence.findings.get(logIndex(3))).toMatchObject({
      base: { index: 6, term: 1 },
      snapshot: { index: 6, term: 1, contentHash: hash, parts: 3, bytes: 10_000, createdMs: 77 },
    });
    expect(evidence).toMatchObject({
      baseIndex: 6,
      committed: [
        { index: 6, term: 1 },
        { index: 6, term: 1 },
      ],
    });
    expect(evidence.terms).toContainEqual({ firstIndex: 7, lastIndex: 10, term: 1 });
  });

  test('says the same of it when it began a new generation and a new segment', async () => {
    const { world, model } = await compacted();
    world.crash('processKill');
    await world.open();
    await append(world, model, 3);
    world.crash('powerLoss');

    const evidence = await evidenceOf(world, model);

    expect(damageIn(await verified(world))).toEqual([]);
    expect(indexesOf(evidence, 'inSnapshot')).toEqual(from(1, 6));
    expect(indexesOf(evidence, 'held')).toEqual(from(7, 13));
    expect(await dumped(world, model)).toEqual(from(7, 13));
  });

  test('is damaged when a part of its only snapshot is, and nothing is proven by that', async () => {
    const { world, model } = await compacted();
    world.crash('powerLoss');
    damagePart(world, model, '1-6', part);

    const verification = await verified(world);
    const evidence = await evidenceOf(world, model);

    expect(damageIn(verification)).toEqual([
      expect.stringContaining(`partition ${model.id} snapshot 1-6: part 2 of snapshot 1-6`),
      `partition ${model.id}: its log begins behind entry 6, and no good snapshot is at or behind that entry`,
    ]);
    expect(indexesOf(evidence, 'held')).toEqual(from(7, 10));
    expect(indexesOf(evidence, 'inSnapshot')).toEqual([]);
    expect(evidence.findings.get(logIndex(6))).toMatchObject({
      reason: expect.stringMatching(
        /^the log begins behind entry 6, and no good snapshot is at or behind that entry: part 2 of/,
      ) as string,
    });
  });

  test('goes on from a later snapshot when the one that it begins behind is damaged', async () => {
    const { world, model } = await compacted();
    await takeSnapshot(world, model, { index: 9 });
    world.crash('powerLoss');
    damagePart(world, model, '1-6', part);

    const evidence = await evidenceOf(world, model);

    expect(damageIn(await verified(world))).toEqual([
      expect.stringContaining('snapshot 1-6: part 2 of snapshot 1-6'),
    ]);
    expect(indexesOf(evidence, 'inSnapshot')).toEqual(from(1, 6));
    expect(evidence.findings.get(logIndex(2))).toMatchObject({ snapshot: { index: 9 } });
    expect(indexesOf(evidence, 'held')).toEqual(from(7, 10));
  });

  test('is shown with its beginning and its snapshots', async () => {
    const { world } = await compacted();
    world.crash('processKill');
    const { fileSystem, directory, encryption } = world.place();

    const inspection = await world.settle(inspectDataDirectory(fileSystem, directory, encryption));

    expect(inspection?.ledger.partitions[0]).toMatchObject({
      base: { index: 6, term: 1 },
      durableIndex: 10,
      snapshots: ['1-6'],
    });
  });
});

describe('a snapshot', () => {
  test('that is gone is missed where the log begins behind it', async () => {
    const world = await begin();
    await compact(world, modelOf(world), 6);
    world.crash('powerLoss');

    const verification = await verified(world);

    expect(damageIn(verification)).toEqual([expect.stringContaining('no good snapshot is at')]);
    const evidence = await evidenceOf(world, modelOf(world));
    expect(evidence.findings.get(logIndex(1))).toMatchObject({
      reason: 'the log begins behind entry 6, and no good snapshot is at or behind that entry',
    });
  });

  test.each([
    { index: 15, ofTerm: 1, use: 'behindLog', says: 'never put in the place of the log' },
    { index: 8, ofTerm: 2, use: undefined, says: 'does not have the entry that it ends with' },
    { index: 4, ofTerm: 1, use: 'beforeLog', says: undefined },
  ])('at entry $index of term $ofTerm is no beginning of the log', async (row) => {
    const world = await begin();
    const model = modelOf(world);
    await takeSnapshot(world, model, { index: row.index, term: row.ofTerm });
    await compact(world, model, 6);
    world.crash('powerLoss');

    const { findings, partitions } = await verified(world);

    expect(partitions[0]?.snapshots).toMatchObject([{ fault: undefined, use: row.use }]);
    const notes = findings.filter(({ where }) => where.includes('snapshot'));
    expect(notes.map(({ severity, what }) => [severity, what])).toEqual(
      row.says === undefined ? [] : [['note', expect.stringContaining(row.says)]],
    );
    expect(damageIn({ findings } as DirectoryVerification)).toHaveLength(1);
    expect(indexesOf(await evidenceOf(world, model), 'inSnapshot')).toEqual([]);
  });

  test('of which an attempt left parts is noted, and left where it is', async () => {
    const world = await begin();
    const model = modelOf(world);
    await takeSnapshot(world, model, { index: 6 });
    const folder = `/data/partitions/${model.id}/snapshot/1-6`;
    world.disk.unlink(`${folder}/manifest.json`);
    world.disk.syncDirectory(folder);
    world.crash('powerLoss');

    const { isDamaged, findings } = await verified(world);

    expect(isDamaged).toBe(false);
    expect(findings).toContainEqual({
      severity: 'note',
      where: `partition ${model.id} snapshot 1-6`,
      what: 'an attempt left it without a manifest; the next start removes it',
    });
    expect(world.disk.list(`${folder}/chunks`)).toHaveLength(3);
  });

  test('whose manifest is damaged is damage, whoever needs it', async () => {
    const world = await begin();
    const model = modelOf(world);
    await takeSnapshot(world, model, { index: 6 });
    world.crash('powerLoss');
    const path = `/data/partitions/${model.id}/snapshot/1-6/manifest.json`;
    expect(world.disk.flipBit(path, 20, 1)).toBe(true);

    expect(damageIn(await verified(world))).toEqual([expect.stringContaining('manifest.json')]);
  });
});

describe('behind an installation', () => {
  async function installed(keepsTail: boolean): Promise<StoreWorld> {
    const world = await begin();
    const model = modelOf(world);
    const log = logOf(world, model);
    const place = keepsTail ? { index: 8, term: 1 } : { index: 50, term: 3 };
    await takeSnapshot(world, model, place);
    const replacement = {
      index: logIndex(place.index),
      term: term(place.term),
      configuration: configurationOf(
        model,
        keepsTail ? { index: 0, term: 0 } : { index: 40, term: 3 },
      ),
      keepsTail,
    };
    world.store?.flush();
    if (!keepsTail) log.persistHardState({ term: term(3), votedFor: undefined });
    let isDone = false;
    log.install(replacement, () => (isDone = true));
    world.store?.flush();
    await world.run(100);
    expect(isDone).toBe(true);
    return world;
  }

  test.each(crashes)('the snapshot stands in the place of the log (%s)', async (kind) => {
    const world = await installed(false);
    const model = modelOf(world);
    world.crash(kind);

    const verification = await verified(world);
    const evidence = await evidenceOf(world, model);

    expect(damageIn(verification)).toEqual([]);
    expect(verification.partitions[0]).toMatchObject({
      baseIndex: 50,
      entries: 0,
      coveredIndex: 50,
      missing: [],
    });
    expect(indexesOf(evidence, 'inSnapshot')).toEqual(from(1, 50));
    expect(indexesOf(evidence, 'held')).toEqual([]);
    expect(evidence.commitIndex).toBe(50);
    expect(evidence.configurations.map(({ index }) => index)).toEqual([0, 40, 0]);
    expect(await dumped(world, model)).toEqual([]);
    const flush = (await recordsOf(world)).find((records) =>
      records.some(({ kind: of }) => of === 'snapshotBase'),
    );
    expect(flush?.map(({ kind: of }) => of)).toEqual([
      'hardState',
      'truncated',
      'snapshotBase',
      'configuration',
    ]);
  });

  test('the log goes on behind the snapshot, in this life and the next', async () => {
    const world = await installed(false);
    const model = modelOf(world);
    await append(world, model, 2);
    world.crash('processKill');
    await world.open();
    await append(world, model, 2);
    world.crash('powerLoss');

    const evidence = await evidenceOf(world, model);

    expect(damageIn(await verified(world))).toEqual([]);
    expect(indexesOf(evidence, 'inSnapshot')).toEqual(from(1, 50));
    expect(indexesOf(evidence, 'held')).toEqual(from(51, 54));
    expect(await dumped(world, model)).toEqual(from(51, 54));
  });

  test('a tail that was kept is held as before', async () => {
    const world = await installed(true);
    const model = modelOf(world);
    await append(world, model, 1);
    world.crash('powerLoss');

    const evidence = await evidenceOf(world, model);

    expect(damageIn(await verified(world))).toEqual([]);
    expect(indexesOf(evidence, 'inSnapshot')).toEqual(from(1, 8));
    expect(indexesOf(evidence, 'held')).toEqual([9, 10, 11]);
    expect(await dumped(world, model)).toEqual([9, 10, 11]);
  });
});

describe('where segments were given back', () => {
  /** Six segments of the first partition; the second has entries 1 to 5, of which 3 to 5 are needed still. */
  async function copied(): Promise<{
    world: StoreWorld;
    busy: PartitionModel;
    quiet: PartitionModel;
  }> {
    const world = await begin({ partitions: 2, entries: 2 });
    const [busy, quiet] = [modelOf(world, 0), modelOf(world, 1)];
    await append(world, quiet, 5);
    await append(world, busy, 48, largeBytes);
    await append(world, quiet, 1);
    await takeSnapshot(world, quiet, { index: 2 });
    await compact(world, quiet, 2);
    await takeSnapshot(world, busy, { index: 15 });
    await compact(world, busy, 15);
    await world.run(5_000);
    return { world, busy, quiet };
  }

  test.each(crashes)('entries that were copied are held in their new place (%s)', async (kind) => {
    const { world, busy, quiet } = await copied();
    const copies = (await recordsOf(world)).flat().filter((row) => row.kind === 'rangeMoved');
    // A record each, or one for all in a generation that was begun behind them.
    expect(copies.flatMap((row) => from(row.firstIndex, row.lastIndex))).toEqual([3, 4, 5]);
    for (const row of copies) expect(row).toMatchObject({ partitionId: quiet.id, cause: 'copy' });
    world.crash(kind);

    const verification = await verified(world);
    const evidence = await evidenceOf(world, quiet);

    expect(damageIn(verification)).toEqual([]);
    expect(world.disk.list('/data/wal')).not.toContain(segmentFileName(1));
    expect(
      verification.partitions.map(({ baseIndex, entries, firstIndex, lastIndex }) => [
        baseIndex,
        entries,
        firstIndex,
        lastIndex,
      ]),
    ).toEqual([
      [15, 35, 16, 50],
      [2, 4, 3, 6],
    ]);
    expect(indexesOf(evidence, 'inSnapshot')).toEqual([1, 2]);
    expect(indexesOf(evidence, 'held')).toEqual(from(3, 6));
    const third = evidence.findings.get(3 as LogIndex);
    expect(third).toMatchObject({ ledger: { movedBy: expect.anything() as unknown } });
    expect([...(await dumped(world, quiet))].sort((left, right) => left - right)).toEqual(
      from(3, 6),
    );
    expect(await dumped(world, busy)).toEqual(from(16, 50));
  });

  test('a file of a segment that the ledger ended is noted, and is not evidence', async () => {
    const { world, quiet } = await copied();
    const segmentSeq = 1;
    expect(world.disk.list('/data/wal')).not.toContain(segmentFileName(segmentSeq));
    world.crash('powerLoss');
    // As a crash before the removal leaves it, with what another segment holds.
    const other = present(
      world.disk.list('/data/wal').find((name) => name.endsWith('.log')),
      'it',
    );
    const file = present(world.disk.find(`/data/wal/${other}`), 'a segment');
    world.disk.link(`/data/wal/${segmentFileName(segmentSeq)}`, file);

    const verification = await verified(world);
    const { fileSystem, directory } = world.place();
    const inspection = await world.settle(inspectDataDirectory(fileSystem, directory));

    expect(damageIn(verification)).toEqual([]);
    expect(verification.findings).toContainEqual({
      severity: 'note',
      where: `segment ${segmentSeq}`,
      what: 'the ledger does not know it any more; the next start removes it',
    });
    const shown = inspection?.segments.find((row) => row.segmentSeq === segmentSeq);
    expect(shown?.state).toBe('retired');
    expect(indexesOf(await evidenceOf(world, quiet), 'held')).toEqual(from(3, 6));
  });
});
