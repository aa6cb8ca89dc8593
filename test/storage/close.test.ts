/** What a store still does when it is closed, and what it does not begin any more (specification §5.5). */
import { afterEach, describe, expect, test } from 'vitest';

import { present } from '../../src/base/assert.ts';
import { incarnation, logIndex, nodeId, partitionId, replicaId, term } from '../../src/base/ids.ts';
import type { LogStore } from '../../src/storage/log-store.ts';
import { SimFileSystem } from '../../src/testing/sim-file-system.ts';
import { StoreWorld } from './store-world.ts';

const mib = 1024 * 1024;
const prototype = SimFileSystem.prototype;
const { open, replaceFile, submit } = prototype;
afterEach(() => {
  Object.assign(prototype, { open, replaceFile, submit });
});

async function openStore(flushBytesMax = 4 * mib): Promise<{ world: StoreWorld; store: LogStore }> {
  const limits = {
    segmentBytes: 8 * mib,
    logBytesMax: 256 * mib,
    ledgerBytes: 256 * 1024,
    flushBytesMax,
  };
  const world = new StoreWorld({ seed: 6, partitions: 1, limits });
  await world.open();
  await world.createReplicas();
  return { world, store: present(world.store, 'open') };
}

/** Closes the store; says whether that has ended. */
function closing(store: LogStore): { isOver: boolean } {
  const close = { isOver: false };
  void store.close().then(() => (close.isOver = true));
  return close;
}

describe('a store that closes', () => {
  test('writes no more entries when the segment that they waited for is ready at last', async () => {
    const { world, store } = await openStore(4096);
    const model = present(world.partitions[0], 'one');
    let isHeld = false;
    let openNext: () => void = () => undefined;
    prototype.open = async function (path, options) {
      if (path.includes('/segment-') && options.access === 'durableWrite' && !isHeld) {
        isHeld = true;
        await new Promise<void>((resolve) => (openNext = resolve));
      }
      return open.call(this, path, options);
    };
    for (let at = 0; at < 12; at++) world.append(model, 1, 2 * mib);
    store.flush();
    await world.run(1_000, () => isHeld && store.unfinishedMs === 0);
    await world.run(1_000);
    expect({ isHeld, unfinishedMs: store.unfinishedMs }).toEqual({ isHeld: true, unfinishedMs: 0 });
    const { durableIndex } = model;
    expect(durableIndex).toBeLessThan(12);

    const close = closing(store);
    await world.run(100);
    let begun = 0;
    prototype.submit = function (steps, done) {
      begun += steps.length;
      submit.call(this, steps, done);
    };
    openNext();
    await world.run(1_000);

    expect({ isClosed: close.isOver, begun }).toEqual({ isClosed: true, begun: 0 });
    expect({ durableIndex: model.durableIndex, failures: world.failures }).toEqual({
      durableIndex,
      failures: 0,
    });
    world.crash('processKill');
    await world.open();
    await world.verify();
  });

  test('keeps its lock while the registry is being written', async () => {
    const { world, store } = await openStore();
    const other = partitionId('018c0d6c-9c11-7e9d-8000-0000000000aa');
    const own = incarnation(other);
    let write: (() => void) | undefined;
    prototype.replaceFile = async function (path, bytes) {
      if (path.endsWith('/node.json')) await new Promise<void>((resolve) => (write = resolve));
      return replaceFile.call(this, path, bytes);
    };
    const creating = store.createReplica({
      partitionId: other,
      replicaId: replicaId(1),
      incarnation: own,
      configuration: {
        term: term(0),
        index: logIndex(0),
        members: [
          {
            replicaId: replicaId(1),
            nodeId: nodeId(1),
            incarnation: own,
            role: 'voter',
            addresses: [],
          },
        ],
        outgoingMembers: [],
      },
    });
    await world.run(1_000, () => write !== undefined);

    const close = closing(store);
    await world.run(1_000);
    expect(close.isOver).toBe(false);
    present(write, 'the registry is being written')();
    await world.settle(creating);
    await world.run(1_000);

    expect(close.isOver).toBe(true);
    world.crash('processKill');
    await world.open();
    expect(world.store?.partition(other)).toBeDefined();
  });
});
