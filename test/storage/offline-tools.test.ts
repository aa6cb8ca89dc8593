/** What offline tools say of a data directory: evidence of entries, verification, dumps (specification §5.3, §5.5). */
import { describe, expect, test } from 'vitest';

import { present } from '../../src/base/assert.ts';
import { logIndex, type LogIndex } from '../../src/base/ids.ts';
import { nextBelow } from '../../src/base/prng.ts';
import { blockOffset, segmentFileName } from '../../src/codec/segment-format.ts';
import { nodeCryptography } from '../../src/security/node-cryptography.ts';
import { dumpEntries } from '../../src/storage/dump-entries.ts';
import {
  gatherEvidence,
  syncBeforeReading,
  type DirectoryEvidence,
  type EntryEvidence,
} from '../../src/storage/entry-evidence.ts';
import { listLedger } from '../../src/storage/ledger-listing.ts';
import { verifyDirectory, type DirectoryVerification } from '../../src/storage/verify-directory.ts';
import { StoreWorld, type PartitionModel } from './store-world.ts';

const cryptography = nodeCryptography;
const limits = {
  segmentBytes: 8 * 1024 * 1024,
  logBytesMax: 256 * 1024 * 1024,
  ledgerBytes: 256 * 1024,
};

async function begin(seed: number, partitions: number, isEncrypted = false): Promise<StoreWorld> {
  const world = new StoreWorld({ seed, partitions, limits, isEncrypted });
  await world.open();
  await world.createReplicas();
  world.crash('processKill');
  await world.open();
  for (const model of world.partitions) world.vote(model);
  return world;
}

async function evidenceOf(
  world: StoreWorld,
  model: PartitionModel,
  indexes: readonly number[],
): Promise<DirectoryEvidence> {
  const fileSystem = world.reader();
  await world.settle(syncBeforeReading(fileSystem, '/data'));
  const question = {
    partitionId: model.id,
    indexes: new Set(indexes.map((index) => logIndex(index))),
    cryptography,
  };
  const evidence = await world.settle(gatherEvidence(world.place(fileSystem), question));
  return present(evidence, 'the directory was read');
}

async function verified(world: StoreWorld): Promise<DirectoryVerification> {
  const result = await world.settle(verifyDirectory(world.place(), cryptography));
  return present(result, 'the directory was read');
}

async function dumped(
  world: StoreWorld,
  model: PartitionModel,
): Promise<{ readonly index: number; readonly term: number; readonly payload: string }[]> {
  const entries: { index: number; term: number; payload: string }[] = [];
  await world.settle(
    dumpEntries(world.place(), {
      partitionId: model.id,
      firstIndex: logIndex(1),
      lastIndex: logIndex(Number.MAX_SAFE_INTEGER),
      onEntry: ({ index, term, payload, isCovered }) => {
        if (isCovered) entries.push({ index, term, payload: new TextDecoder().decode(payload) });
      },
    }),
  );
  return entries;
}

function upTo(count: number): readonly number[] {
  return Array.from({ length: count }, (_, at) => at + 1);
}

function work(world: StoreWorld): void {
  const model = present(
    world.partitions[nextBelow(world.random, world.partitions.length)],
    'a partition',
  );
  const choice = nextBelow(world.random, 8);
  if (choice === 0) world.truncate(model);
  else if (choice === 1) world.commit(model);
  else world.append(model, 1 + nextBelow(world.random, 8), 600);
  if (nextBelow(world.random, 3) > 0) world.store?.flush();
}

describe('a store that crashed at random', () => {
  test.each(upTo(25))('proves what it had reported, and nothing dead, seed %i', async (seed) => {
    const world = await begin(seed, 1 + (seed % 3), seed % 2 === 0);
    for (let life = 0; life < 4; life++) {
      const steps = 10 + nextBelow(world.random, 60);
      for (let step = 0; step < steps; step++) {
        work(world);
        if (nextBelow(world.random, 2) === 0) await world.run(nextBelow(world.random, 4));
      }
      world.crash(nextBelow(world.random, 2) === 0 ? 'powerLoss' : 'processKill');

      const verification = await verified(world);
      expect(verification.findings.filter(({ severity }) => severity === 'damage')).toEqual([]);
      for (const model of world.partitions) {
        const sure = Math.min(model.durableIndex, model.lowestTruncation - 1);
        const { findings, doubt } = await evidenceOf(world, model, upTo(sure));
        expect(doubt).toBeUndefined();
        const terms = upTo(sure).map((index) => {
          const finding = findings.get(index as LogIndex);
          return finding?.kind === 'held' ? finding.term : finding;
        });
        expect(terms).toEqual(model.entries.slice(0, sure).map(({ term }) => term));
        const entries = await dumped(world, model);
        expect(entries.map(({ index }) => index)).toEqual(upTo(entries.length));
        expect(entries.slice(0, sure).map(({ term, payload }) => ({ term, payload }))).toEqual(
          model.entries.slice(0, sure),
        );
      }
      await world.open();
      await world.verify();
    }
  });
});

describe('an entry', () => {
  /** A store of one partition with entries 1 to 3 durable, each in a flush of its own. */
  async function three(): Promise<{ readonly world: StoreWorld; readonly model: PartitionModel }> {
    const world = await begin(7, 1);
    const model = present(world.partitions[0], 'a partition');
    for (let count = 0; count < 3; count++) {
      world.append(model, 1, 300);
      world.store?.flush();
      await world.run(50);
    }
    expect(model.durableIndex).toBe(3);
    return { world, model };
  }

  async function held(world: StoreWorld, model: PartitionModel): Promise<EntryEvidence> {
    const finding = (await evidenceOf(world, model, [2])).findings.get(logIndex(2));
    if (finding?.kind !== 'held') throw new Error(JSON.stringify(finding));
    return finding;
  }

  test('is held by the first record that reaches it, with both copies good', async () => {
    const { world, model } = await three();
    world.crash('powerLoss');

    const { ledger, term, hasLeaf } = await held(world, model);

    expect(ledger).toMatchObject({ copies: 'both', record: { index: 2, term: 1 } });
    expect({ term, hasLeaf }).toEqual({ term: 1, hasLeaf: true });
  });

  test('that the ledger does not cover is not held although its frame may be there', async () => {
    const { world, model } = await three();
    world.append(model, 1, 300);
    world.store?.flush();
    await world.run(50);
    world.crash('processKill');
    const whole = (await evidenceOf(world, model, [4])).findings.get(logIndex(4));
    if (whole?.kind !== 'held') throw new Error(JSON.stringify(whole));
    // The last flush is torn, as if the power had gone while it was written.
    for (const copy of [0, 1])
      world.disk.flipBit('/data/wal/durability.log', whole.ledger.offset + copy * 4096 + 20, 3);

    const { findings } = await evidenceOf(world, model, [3, 4]);

    expect(findings.get(logIndex(3))).toMatchObject({ kind: 'held' });
    expect(findings.get(logIndex(4))).toMatchObject({ reason: 'the ledger does not cover it' });
  });

  test('whose block is damaged is not held, those before and behind it are', async () => {
    const { world, model } = await three();
    world.crash('powerLoss');
    const { segmentSeq, block, offset } = await held(world, model);
    const path = `/data/wal/${segmentFileName(segmentSeq)}`;
    world.disk.flipBit(path, blockOffset(block) + 8 + offset + 20, 3);

    const { findings } = await evidenceOf(world, model, [1, 2, 3]);
    const { isDamaged, partitions, findings: found } = await verified(world);

    expect([1, 2, 3].map((index) => findings.get(logIndex(index))?.kind)).toEqual([
      'held',
      'notHeld',
      'held',
    ]);
    expect(isDamaged).toBe(true);
    expect(partitions[0]?.missing).toEqual([{ firstIndex: 2, lastIndex: 2 }]);
    expect(found).toContainEqual({
      severity: 'damage',
      where: `segment ${segmentSeq} block ${block}`,
      what: 'its tag is wrong',
    });
  });

  test('that a repair wrote again is held there, by the flush that moved it', async () => {
    const { world, model } = await three();
    world.crash('powerLoss');
    const first = await held(world, model);
    await world.open();
    const log = present(world.store?.partition(model.id), 'a log');
    const batch = await world.settle(log.read(logIndex(2), logIndex(2), 1 << 20));
    log.repair(present(batch, 'an entry'), () => undefined);
    world.store?.flush();
    await world.run(50);
    world.crash('powerLoss');
    const path = `/data/wal/${segmentFileName(first.segmentSeq)}`;
    world.disk.flipBit(path, blockOffset(first.block) + 8 + first.offset + 20, 3);

    const again = await held(world, model);
    const { partitions } = await verified(world);

    expect(again.segmentSeq).toBeGreaterThan(first.segmentSeq);
    expect(again.crc).toBe(first.crc);
    expect(again.ledger.movedBy).toBeDefined();
    expect(partitions[0]).toMatchObject({ entries: 3, missing: [], quarantined: undefined });
    expect((await dumped(world, model)).map(({ index }) => index)).toEqual([1, 3, 2]);
  });

  test('that a quarantine counts as damaged is not held, the others are', async () => {
    const { world, model } = await three();
    const ranges = [{ firstIndex: logIndex(2), lastIndex: logIndex(2) }];
    world.store
      ?.partition(model.id)
      ?.persistQuarantine({ isActive: true, sinceMs: 1, ranges, begunMs: [1] }, () => undefined);
    world.store?.flush();
    await world.run(50);
    world.crash('powerLoss');

    const { findings } = await evidenceOf(world, model, [1, 2, 3]);
    const { isDamaged, partitions } = await verified(world);

    expect([1, 2, 3].map((index) => findings.get(logIndex(index))?.kind)).toEqual([
      'held',
      'notHeld',
      'held',
    ]);
    expect({ isDamaged, quarantined: partitions[0]?.quarantined }).toEqual({
      isDamaged: true,
      quarantined: ranges,
    });
  });

  test('of an encrypted directory needs its keys', async () => {
    const world = await begin(7, 1, true);
    world.crash('powerLoss');
    world.isEncrypted = false;

    await expect(world.settle(verifyDirectory(world.place(), cryptography))).rejects.toMatchObject({
      code: 'CLUSTOR_KEY_MISSING',
    });
  });

  test('of a replica in doubt is not held', async () => {
    const { world, model } = await three();
    world.store?.partition(model.id)?.persistDoubt('a test', () => undefined);
    world.store?.flush();
    await world.run(50);
    world.crash('powerLoss');

    const { findings } = await evidenceOf(world, model, [1]);

    expect(findings.get(logIndex(1))).toMatchObject({
      reason: 'the replica is in doubt: a test',
    });
  });

  test('whose record stands in a flush with one good copy is held, and verification notes it', async () => {
    const { world, model } = await three();
    world.crash('powerLoss');
    const { ledger } = await held(world, model);
    world.disk.flipBit('/data/wal/durability.log', ledger.offset + 20, 3);

    expect((await held(world, model)).ledger.copies).toBe('secondOnly');
    const { isDamaged, findings } = await verified(world);
    expect(isDamaged).toBe(false);
    expect(findings).toContainEqual({
      severity: 'note',
      where: 'ledger',
      what: `the first copy of flush ${ledger.flushSeq} is bad`,
    });
    const [generation] = present(
      await world.settle(listLedger(world.place())),
      'the ledger was listed',
    );
    const copies = generation?.flushes.filter((row) => row.copies !== 'both');
    expect(copies?.map(({ flush }) => flush.flushSeq)).toEqual([ledger.flushSeq]);
  });
});
