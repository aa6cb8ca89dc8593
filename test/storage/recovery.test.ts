/** What a start finds: configurations, doubts, damaged ledger flushes, missing data (specification §3.1, §5.3, KER-9). */
import { describe, expect, test } from 'vitest';

import { present } from '../../src/base/assert.ts';
import { incarnation, logIndex, nodeId, replicaId, term } from '../../src/base/ids.ts';
import type { Configuration } from '../../src/base/membership.ts';
import { readLedgerFlush } from '../../src/codec/ledger-format.ts';
import { blockBytes, segmentFileName } from '../../src/codec/segment-format.ts';
import { systemEntryOf } from '../../src/runtime/configuration-entry.ts';
import { FrameBuilder } from '../../src/runtime/frame-builder.ts';
import type { RecoveredPartition } from '../../src/storage/log-store-types.ts';
import type { PartitionLog } from '../../src/storage/partition-log.ts';
import { pageBytes } from '../../src/testing/sim-disk-file.ts';
import type { CrashKind } from '../../src/testing/sim-file-system.ts';
import { frames } from './model-frames.ts';
import { StoreWorld, type PartitionModel } from './store-world.ts';

const ledgerPath = '/data/wal/durability.log';
const ledgerBlockBytes = 4096;
/** A byte of every flush, however few records it has. */
const damagedByte = 20;
const kinds: readonly CrashKind[] = ['powerLoss', 'processKill'];

interface Settled {
  readonly world: StoreWorld;
  readonly model: PartitionModel;
}

/** A store whose first partition has three durable entries in term 1. */
async function settledStore(partitions = 1, seed = 1): Promise<Settled> {
  const limits = {
    segmentBytes: 8 * 1024 * 1024,
    logBytesMax: 256 * 1024 * 1024,
    ledgerBytes: 256 * 1024,
  };
  const world = new StoreWorld({ seed, partitions, limits });
  await world.open();
  await world.createReplicas();
  await restart(world, 'processKill');
  for (const model of world.partitions) {
    world.vote(model);
    await flush(world);
    world.append(model, 3, 500);
    await flush(world);
    expect(model).toMatchObject({ durableIndex: 3, durableHardState: 1 });
  }
  return { world, model: present(world.partitions[0], 'a partition') };
}

async function flush(world: StoreWorld): Promise<void> {
  world.store?.flush();
  await world.run(50);
}

async function restart(world: StoreWorld, kind: CrashKind): Promise<void> {
  world.crash(kind);
  await world.open();
}

function logOf({ world, model }: Settled): PartitionLog {
  return present(world.store?.partition(model.id), 'the log of a hosted partition');
}

function recoveredOf({ world, model }: Settled): RecoveredPartition {
  return present(
    world.store?.recovered.find((row) => row.partitionId === model.id),
    'the partition was recovered',
  );
}

/** Appends the entry that makes a learner of replica 2. */
function appendConfiguration(settled: Settled, at: { index: number; term: number }): Configuration {
  const { model } = settled;
  const voter = present(recoveredOf(settled).configurations[0], 'the initial one').members;
  const learner = {
    replicaId: replicaId(2),
    nodeId: nodeId(2),
    incarnation: incarnation('018f0000-0000-7000-8000-000000000002'),
    role: 'learner' as const,
    addresses: ['127.0.0.1:2'],
  };
  const place = { term: term(at.term), firstIndex: logIndex(at.index) };
  const configuration = {
    term: place.term,
    index: place.firstIndex,
    members: [...voter, learner],
    outgoingMembers: [],
  };
  const bytes = new FrameBuilder(model.id).system(
    place,
    systemEntryOf({
      kind: 'appendToLog',
      source: 'configuration',
      phase: 'learners',
      configuration,
      reason: '',
      failingNodes: [],
      appendSequence: 1000,
      ...place,
      lastIndex: place.firstIndex,
    }),
  );
  logOf(settled).append(
    {
      firstIndex: place.firstIndex,
      lastIndex: place.firstIndex,
      lastTerm: place.term,
      bytes,
      configurations: [configuration],
    },
    1000,
  );
  return configuration;
}

/** Where flushes of the newest generation stand in the ledger, first copies only, in order. */
function flushOffsets(world: StoreWorld): readonly number[] {
  const bytes = present(world.disk.syncedBytes(ledgerPath), 'the ledger is there');
  const found = new Map<number, { readonly offset: number; readonly generation: number }>();
  for (let offset = 0; offset < bytes.length; offset += ledgerBlockBytes) {
    const read = readLedgerFlush(bytes, offset);
    if (read === undefined || found.has(read.flushSeq)) continue;
    found.set(read.flushSeq, { offset, generation: read.generation });
  }
  const newest = Math.max(...[...found.values()].map(({ generation }) => generation));
  return [...found.values()]
    .filter(({ generation }) => generation === newest)
    .map(({ offset }) => offset);
}

describe('a configuration', () => {
  test.each(kinds)('whose entry is covered is in force after a restart (%s)', async (kind) => {
    const settled = await settledStore();
    const configuration = appendConfiguration(settled, { index: 4, term: 1 });
    await flush(settled.world);

    await restart(settled.world, kind);

    expect(recoveredOf(settled)).toMatchObject({ lastIndex: 4, doubt: undefined });
    expect(recoveredOf(settled).configurations.at(-1)).toEqual(configuration);
  });

  test('comes back with an entry that was kept behind coverage, and stays', async () => {
    let kept = 0;
    for (let seed = 1; seed <= 12; seed++) {
      const settled = await settledStore(1, seed);
      const { world } = settled;
      const configuration = appendConfiguration(settled, { index: 4, term: 1 });
      world.killAt({ kind: 'chain', chain: world.disk.chainCount, step: 2 });
      await flush(world);
      expect(world.isKilled).toBe(true);

      for (const kind of kinds) {
        await restart(world, kind);

        // Of the ledger's flush, which the crash fell into, any part may be there.
        kept += present(world.store, 'open').bootReport.framesKeptBehindCoverage;
        expect(recoveredOf(settled).lastIndex).toBe(4);
        expect(recoveredOf(settled).configurations.at(-1)).toEqual(configuration);
      }
    }
    expect(kept).toBeGreaterThan(0);
  });

  test.each(kinds)(
    'whose entry was truncated is not in force after a restart (%s)',
    async (kind) => {
      const settled = await settledStore();
      const { world, model } = settled;
      appendConfiguration(settled, { index: 4, term: 1 });
      await flush(world);

      world.vote(model);
      logOf(settled).truncateFrom(logIndex(4));
      logOf(settled).append(frames(model.id, [{ index: 4, term: 2, payload: 'other' }]), 1001);
      await flush(world);
      await restart(world, kind);

      expect(recoveredOf(settled)).toMatchObject({ lastIndex: 4, doubt: undefined });
      expect(recoveredOf(settled).configurations.map(({ index }) => index)).toEqual([0]);
    },
  );
});

describe('a doubt that was recorded (KER-9)', () => {
  test('outlives restarts', async () => {
    const settled = await settledStore();
    logOf(settled).persistDoubt('a test', () => undefined);
    await flush(settled.world);

    for (const kind of kinds) {
      await restart(settled.world, kind);
      expect(recoveredOf(settled).doubt).toBe('a test');
    }
  });
});

describe('a ledger whose newest flushes never reached the disk, though it said so (KER-9)', () => {
  test('is behind its own log, which tells: the replica may have voted in the term that is gone', async () => {
    const settled = await settledStore();
    const { world, model } = settled;
    const ledger = present(world.disk.find(ledgerPath), 'the ledger');
    const pages = Array.from({ length: ledger.sizeBytes / pageBytes }, (_, number) => ({
      number,
      bytes: ledger.syncedPage(number),
    }));
    world.vote(model);
    await flush(world);
    world.append(model, 1, 500);
    await flush(world);
    expect(model).toMatchObject({ durableIndex: 4, durableHardState: 2 });

    for (const page of pages) ledger.replaceOnMedium(page);
    for (const kind of kinds) {
      await restart(world, kind);
      expect(recoveredOf(settled)).toMatchObject({ lastIndex: 4, hardState: { term: 2 } });
      expect(recoveredOf(settled).doubt).toContain('the ledger knows of term 1 only');
    }
  });
});

describe('a ledger flush', () => {
  test('whose first copy is damaged is read from its second one', async () => {
    const count = flushOffsets((await settledStore()).world).length;
    expect(count).toBeGreaterThanOrEqual(4);

    for (let position = 0; position < count; position++) {
      const settled = await settledStore();
      const { world } = settled;
      world.disk.flipBit(
        ledgerPath,
        present(flushOffsets(world)[position], 'a flush') + damagedByte,
        3,
      );
      await restart(world, 'processKill');

      expect(recoveredOf(settled), `flush ${position}`).toMatchObject({
        lastIndex: 3,
        hardState: { term: 1 },
        doubt: undefined,
      });
      expect(world.store?.bootReport.ledgerFlushesFromSecondCopy).toBe(1);
    }
  });

  test('of which both copies are damaged is lost evidence if a later one knew it as synced', async () => {
    const settled = await settledStore();
    const { world } = settled;
    const offset = present(flushOffsets(world).at(-2), 'a flush before the last');
    for (const copy of [0, 1])
      world.disk.flipBit(ledgerPath, offset + copy * ledgerBlockBytes + damagedByte, 3);

    await restart(world, 'processKill');

    expect(recoveredOf(settled).doubt).toContain('unreadable');
  });

  test('of which both copies are damaged is a torn end if it is the last', async () => {
    const settled = await settledStore();
    const { world } = settled;
    const offset = present(flushOffsets(world).at(-1), 'the last flush');
    for (const copy of [0, 1])
      world.disk.flipBit(ledgerPath, offset + copy * ledgerBlockBytes + damagedByte, 3);

    await restart(world, 'processKill');

    expect(recoveredOf(settled).doubt).toBeUndefined();
    expect(world.store?.bootReport.ledgerTornFlushCut).toBe(true);
  });
});

describe('a file that was cut within a block', () => {
  test('is read up to its last whole block when it is a segment', async () => {
    const settled = await settledStore(2);
    const { world } = settled;
    const other = present(world.partitions[1], 'another partition');
    const { segmentSeq, endOffset } = present(world.store, 'the store is open').statistics();
    cut(world, `/data/wal/${segmentFileName(segmentSeq)}`, endOffset - 100);

    await restart(world, 'processKill');

    expect(recoveredOf(settled)).toMatchObject({ lastIndex: 3, doubt: undefined });
    expect(recoveredOf({ world, model: other }).quarantine).toMatchObject({ endIndex: 3 });
  });

  test('is read up to its last whole flush when it is the ledger', async () => {
    const settled = await settledStore();
    const { world } = settled;
    cut(world, ledgerPath, present(flushOffsets(world).at(-1), 'the last flush') + 100);

    await restart(world, 'processKill');

    expect(recoveredOf(settled)).toMatchObject({ lastIndex: 3, hardState: { term: 1 } });
  });

  function cut(world: StoreWorld, path: string, sizeBytes: number): void {
    const file = present(world.disk.find(path), 'the file is there');
    file.truncate(sizeBytes);
    file.sync();
  }
});

describe('a directory without its registry', () => {
  test('is refused when its ledger knows a replica that has voted', async () => {
    const { world } = await settledStore();
    world.disk.unlink('/data/node.json');

    await expect(restart(world, 'processKill')).rejects.toMatchObject({
      code: 'CLUSTOR_REPLICA_FILES_MISSING',
    });
  });

  test('is refused when its ledger cannot be read', async () => {
    const { world } = await settledStore();
    world.disk.unlink('/data/node.json');
    for (const copy of [0, 1])
      world.disk.flipBit(ledgerPath, copy * ledgerBlockBytes + damagedByte, 3);

    await expect(restart(world, 'processKill')).rejects.toMatchObject({
      code: 'CLUSTOR_INTEGRITY',
    });
  });
});

describe('covered data that cannot be read', () => {
  test('puts exactly the partitions that lack it in quarantine (regression 65)', async () => {
    const settled = await settledStore(2);
    const { world } = settled;
    const other = present(world.partitions[1], 'another partition');
    const { segmentSeq, endOffset } = present(world.store, 'the store is open').statistics();
    // The last block is the other partition's: its flush came last.
    const path = `/data/wal/${segmentFileName(segmentSeq)}`;
    expect(world.disk.flipBit(path, endOffset - blockBytes + 40, 1)).toBe(true);

    await restart(world, 'processKill');

    expect(recoveredOf(settled)).toMatchObject({ doubt: undefined, quarantine: undefined });
    expect(recoveredOf({ world, model: other })).toMatchObject({
      doubt: undefined,
      quarantine: { endIndex: 3, endTerm: 1, begunMs: [] },
    });
  });

  test('in a life that is in doubt for good ends its log there, and it goes on behind', async () => {
    const settled = await settledStore();
    const { world, model } = settled;
    logOf(settled).persistDoubt('a test', () => undefined);
    await flush(world);
    const { segmentSeq, endOffset } = present(world.store, 'the store is open').statistics();
    const path = `/data/wal/${segmentFileName(segmentSeq)}`;
    expect(world.disk.flipBit(path, endOffset - blockBytes + 40, 1)).toBe(true);

    await restart(world, 'processKill');
    expect(recoveredOf(settled)).toMatchObject({
      doubt: 'a test',
      quarantine: undefined,
      lastIndex: 0,
    });
    logOf(settled).append(frames(model.id, [{ index: 1, term: 1, payload: 'again' }]), 1);
    await flush(world);
    await restart(world, 'powerLoss');

    expect(world.failures).toBe(0);
    expect(recoveredOf(settled)).toMatchObject({ doubt: 'a test', lastIndex: 1 });
  });
});
