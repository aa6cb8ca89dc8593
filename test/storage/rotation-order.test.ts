/** Keys change while a truncation waits for its ledger flush: nothing of the segment that is left may be ahead of the ledger. */
import { expect, test } from 'vitest';

import { present } from '../../src/base/assert.ts';
import { logIndex, term } from '../../src/base/ids.ts';
import { frames } from './model-frames.ts';
import { StoreWorld } from './store-world.ts';

const limits = {
  segmentBytes: 8 * 1024 * 1024,
  logBytesMax: 256 * 1024 * 1024,
  ledgerBytes: 256 * 1024,
};

test.each([0, 1, 2, 3, 4, 5, 6])(
  'a power failure %i chains behind a change of keys is no damage',
  async (chainsLater) => {
    const world = new StoreWorld({ seed: 3, partitions: 1, limits, isEncrypted: true });
    await world.open();
    await world.createReplicas();
    const model = present(world.partitions[0], 'a partition');
    world.vote(model);
    const store = present(world.store, 'the store is open');
    const log = present(store.partition(model.id), 'its log');
    const entry = (index: number, payload: string) => ({ index, term: 1, payload });
    // More than a quarter of the segment is used: the next one is ready, as it mostly is.
    const large = [1, 2].map((index) => entry(index, 'x'.repeat(1_500_000)));
    log.append(frames(model.id, large), 1);
    store.flush();
    await world.run(5000);
    // Keys change while entries come in, until they are about to and a chain is under way.
    store.keyDesk.rotate().catch(() => undefined);
    for (
      let index = 3;
      store.keyDesk.status().epochs.length < 2 || store.unfinishedMs === 0;
      index++
    ) {
      log.append(frames(model.id, [entry(index, `old ${index}`)]), index);
      store.flush();
      await world.run(0.05);
    }
    // During that chain a leader of term 2 replaces what was appended.
    log.persistHardState({ term: term(2), votedFor: undefined });
    log.truncateFrom(logIndex(2));
    log.append(frames(model.id, [{ index: 2, term: 2, payload: 'new' }]), 1000);
    world.killAt({ kind: 'chain', chain: world.disk.chainCount + chainsLater, step: 1 });
    store.flush();
    await world.run(20_000);

    world.crash('powerLoss');
    await world.open();

    const found = present(present(world.store, 'the store is open').recovered[0], 'its log');
    expect(found.quarantine).toBeUndefined();
    expect(found.doubt).toBeUndefined();
  },
);
