/** How members answer who fetches a snapshot, and what is made of it. */
import { describe, expect, test } from 'vitest';

import { logIndex, nodeId, partitionId, term } from '../../src/base/ids.ts';
import { encodeManifest } from '../../src/codec/snapshot-manifest.ts';
import type { SnapshotResponse } from '../../src/runtime/snapshot-server.ts';
import { createCore, lifeOf } from '../raft/core-driver.ts';
import { spoiled, wanted, World } from './install-world.ts';
import { settled } from './hand-clock.ts';
import { snapshotOf, type Tamper } from './snapshot-peers.ts';

const partCount = wanted.parts.length;

describe('a member that is asked', () => {
  test('and has lost the question with its connection is asked again at once', async () => {
    const world = new World();
    world.leader.tamper = (response, { sequence }) => (sequence === 1 ? undefined : response);

    world.desk.review();
    await settled();
    world.desk.peerConnected(nodeId(2));
    await settled();
    await world.clock.advance(0);
    await world.pass(100);

    expect(world.leader.requests.map(({ part }) => part).slice(0, 3)).toEqual([0, 0, 1]);
    expect(world.installed).toHaveLength(1);
  });

  test('and is silent for one part is asked for it again before it is passed over', async () => {
    const world = new World();
    let silences = 2;
    world.leader.tamper = (response) =>
      response.part === 2 && silences-- > 0 ? undefined : response;

    await world.pass(4_000);

    expect(world.installed).toEqual([wanted.manifest]);
    expect(world.other.requests).toEqual([]);
  });

  test('and cannot be reached any more is passed over after one silence', async () => {
    const world = new World();
    world.leader.tamper = (response) => {
      if (response.part !== 2) return response;
      world.leader.way.isUp = false;
      return undefined;
    };

    await world.pass(1_500);

    expect(world.folder.steps).toContain('abort 30');
    expect(world.installed).toEqual([wanted.manifest]);
    expect(world.observer.of('snapshotPulled')).toMatchObject([{ nodeId: 3 }]);
  });

  test.each<[string, Tamper]>([
    ['damages a part', spoiled(2, { content: Uint8Array.of(1, 2, 3, 4) })],
    ['sends a longer part', spoiled(2, { content: new Uint8Array(40) })],
    ['sends another part', spoiled(2, { part: 1 })],
    ['sends a part of another snapshot', spoiled(2, { baseIndex: logIndex(31) })],
    ['says that its snapshot is gone', spoiled(2, { outcome: 'gone' })],
    ['says that its snapshot is damaged', spoiled(2, { outcome: 'damaged' })],
    ['has none', spoiled(0, { outcome: 'none' })],
  ])('and %s is passed over', async (_, tamper) => {
    const world = new World();
    world.leader.tamper = tamper;

    await world.pass(500);

    expect(world.installed).toEqual([wanted.manifest]);
    expect(world.observer.of('snapshotPulled')).toMatchObject([{ nodeId: 3 }]);
    expect(world.folder.steps.filter((step) => step.startsWith('finish'))).toHaveLength(1);
  });

  const manifestOf = (index: number, change = {}): Partial<SnapshotResponse> => ({
    content: encodeManifest(snapshotOf(index, 'some other text', change).manifest),
    baseIndex: logIndex(index),
  });
  const [first, ...rest] = wanted.manifest.parts;
  test.each<[string, Partial<SnapshotResponse>]>([
    ['that is no manifest', { content: Uint8Array.of(1, 2, 3) }],
    ['that is cut', { content: encodeManifest(wanted.manifest).subarray(1) }],
    ['with another hash', { content: encodeManifest({ ...wanted.manifest, createdMs: 6 }) }],
    [
      'of another partition',
      manifestOf(30, { partitionId: partitionId('018c0d6c-9c11-7e9d-8000-000000000002') }),
    ],
    ['that ends too early', manifestOf(24)],
    ['of another index than it says', { baseIndex: logIndex(31) }],
    ['of another term than it says', { baseTerm: term(2) }],
    ['of uneven parts', manifestOf(30, { ...wanted.manifest, parts: [...rest, first] })],
  ])('and sends a manifest %s is passed over', async (_, change) => {
    const world = new World();
    world.leader.tamper = spoiled(0, change);

    await world.pass(500);

    expect(world.observer.of('snapshotRefused')).toMatchObject([{ nodeId: 2 }]);
    expect(world.leader.requests).toHaveLength(1);
    expect(world.observer.of('snapshotPulled')).toMatchObject([{ nodeId: 3 }]);
    expect(world.installed).toEqual([wanted.manifest]);
  });

  test('and is busy is asked again shortly, and not for ever', async () => {
    const world = new World();
    let answers = 3;
    world.leader.tamper = (response) =>
      response.part === 1 && answers-- > 0 ? { ...response, outcome: 'busy' } : response;
    await world.pass(1_500);
    expect(world.installed).toHaveLength(1);
    expect(world.other.requests).toEqual([]);

    const never = new World();
    never.leader.tamper = spoiled(1, { outcome: 'busy' });
    await never.pass(40_000);
    expect(never.installed).toHaveLength(1);
    expect(never.observer.of('snapshotPulled')).toMatchObject([{ nodeId: 3 }]);
  });

  test.each<[string, Partial<SnapshotResponse>]>([
    ['to another question', { sequence: 99 }],
    ['of another replica', { fromReplica: createCore({ self: 3 }).selfReplica }],
    ['of another life', { fromIncarnation: lifeOf(2, 1) }],
  ])('is not heard with an answer %s', async (_, change) => {
    const world = new World({ other: [] });
    world.leader.tamper = spoiled(0, change);

    await world.pass(900);

    expect(world.desk.status).toMatchObject({ isPulling: true, fromNodeId: 2, parts: 0 });
    expect(world.leader.requests).toHaveLength(1);
  });

  test('may say the same twice, or too late', async () => {
    const world = new World();
    const heard: SnapshotResponse[] = [];
    world.leader.tamper = (response) => {
      for (const before of heard) world.desk.answered(before);
      heard.push(response);
      world.desk.answered(response);
      return response;
    };

    await world.pass(300);
    for (const response of heard) world.desk.answered(response);

    expect(world.installed).toEqual([wanted.manifest]);
    expect(world.folder.steps.filter((step) => step === 'write 30')).toHaveLength(partCount);
  });
});
