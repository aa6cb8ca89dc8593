import { describe, expect, test } from 'vitest';

import { present } from '../../src/base/assert.ts';
import { clusterId, nodeId } from '../../src/base/ids.ts';
import { createPrng, nextBelow } from '../../src/base/prng.ts';
import { replayLedgerBytes } from '../../src/storage/ledger-replay.ts';
import { LedgerEvidence } from '../../src/testing/ledger-evidence.ts';
import { SimFile } from '../../src/testing/sim-disk-file.ts';
import { StoreWorld } from '../storage/store-world.ts';

const ledgerPath = '/data/wal/durability.log';
const owner = { clusterId: clusterId('018c0d6c-9c11-7e9d-8000-86f5bb8c0001'), nodeId: nodeId(1) };

describe('evidence that goes on where it stopped', () => {
  test('says what a replay of the whole ledger says, over crashes, generations and rot', async () => {
    const random = createPrng(11);
    const limits = {
      segmentBytes: 8 * 1024 * 1024,
      logBytesMax: 256 * 1024 * 1024,
      ledgerBytes: 256 * 1024,
    };
    const world = new StoreWorld({ seed: 3, partitions: 2, limits });
    await world.open();
    await world.createReplicas();
    const evidence = new LedgerEvidence(owner);
    const generations = new Set<number>();
    const compare = (): void => {
      const file = world.disk.findSynced(ledgerPath);
      if (file === undefined) return;
      const whole = replayLedgerBytes(file.read(0, file.syncedSizeBytes, 'synced'), owner);
      generations.add(whole.generation);
      expect(evidence.read(file)?.partitions ?? new Map()).toEqual(whole.image.partitions);
    };

    for (let round = 0; round < 120; round++) {
      for (const model of world.partitions) {
        if (nextBelow(random, 3) === 0) world.vote(model);
        else world.append(model, 1 + nextBelow(random, 3), 50);
      }
      world.store?.flush();
      await world.run(nextBelow(random, 3));
      compare();
      if (round % 20 === 19) {
        world.crash(nextBelow(random, 2) === 0 ? 'powerLoss' : 'processKill');
        compare();
        await world.open();
        compare();
        await world.verify();
      }
    }

    expect(generations.size).toBeGreaterThan(5);
  });

  test('is gone with the page that held it', async () => {
    const world = new StoreWorld({ seed: 4, partitions: 1 });
    await world.open();
    await world.createReplicas();
    const model = present(world.partitions[0], 'one partition');
    world.vote(model);
    world.append(model, 3, 50);
    world.store?.flush();
    await world.run(50);
    const evidence = new LedgerEvidence(owner);
    const file = present(world.disk.findSynced(ledgerPath), 'the ledger is synced');
    expect(evidence.read(file)?.partitions.get(model.id)?.durability?.index).toBe(3);

    for (const number of file.syncedPageNumbers().slice(2)) file.flipBit(number * 4096 + 60, 1);

    expect(evidence.read(file)?.partitions.get(model.id)?.durability).toBeUndefined();
    expect(evidence.read(SimFile.zeroed(4 * 4096))).toBeUndefined();
  });
});
