/** Giving snapshots to who asks, and keeping what is asked for. */
import { expect, describe, test } from 'vitest';

import { logIndex, nodeId, term } from '../../src/base/ids.ts';
import { decodeManifest, encodeManifest } from '../../src/codec/snapshot-manifest.ts';
import {
  SnapshotServer,
  type SnapshotRequest,
  type SnapshotResponse,
} from '../../src/runtime/snapshot-server.ts';
import { nodeCryptography } from '../../src/security/node-cryptography.ts';
import { createCore, lifeOf, member } from '../raft/core-driver.ts';
import { HandClock, settled } from './hand-clock.ts';
import {
  EventList,
  linksOf,
  MemoryFolder,
  partition,
  snapshotOf,
  Way,
  type MadeSnapshot,
} from './snapshot-peers.ts';

const asker = nodeId(1);
const older = snapshotOf(20);
const newer = snapshotOf(30);

function requestOf(change: Partial<SnapshotRequest> = {}): SnapshotRequest {
  return {
    kind: 'snapshotRequest',
    partitionId: partition,
    toIncarnation: lifeOf(2),
    fromReplica: member(1).replicaId,
    fromIncarnation: lifeOf(1),
    sequence: 9,
    minIndex: logIndex(10),
    baseIndex: logIndex(0),
    baseTerm: term(0),
    part: 0,
    ...change,
  };
}

function partOf({ manifest }: MadeSnapshot, part: number): Partial<SnapshotRequest> {
  return { baseIndex: manifest.index, baseTerm: manifest.term, part };
}

class World {
  readonly clock = new HandClock();
  readonly observer = new EventList();
  readonly folder = new MemoryFolder(older, newer);
  readonly way = new Way<SnapshotResponse>(() => undefined);
  readonly state = createCore({ self: 2 });
  readonly server = new SnapshotServer({
    state: this.state,
    source: this.folder,
    links: linksOf(new Map([[asker, this.way]])),
    clock: this.clock,
    observer: this.observer,
  });

  get answers(): readonly SnapshotResponse[] {
    return this.way.sent;
  }

  async ask(change: Partial<SnapshotRequest> = {}): Promise<SnapshotResponse | undefined> {
    await this.server.serve(asker, requestOf(change));
    return this.answers.at(-1);
  }
}

describe('a member that is asked for a snapshot', () => {
  test('names its newest one that reaches far enough, without what it is sealed with', async () => {
    const sealed = { dekEpoch: 3, wrappedKey: new Uint8Array(64) };
    const world = new World();
    const source = {
      published: [older.manifest, { ...newer.manifest, encryption: sealed }],
      part: world.folder.part.bind(world.folder),
    };
    const { state, clock, observer } = world;
    const links = linksOf(new Map([[asker, world.way]]));
    const server = new SnapshotServer({ state, source, links, clock, observer });

    await server.serve(asker, requestOf());

    const [answer] = world.answers;
    expect(answer).toMatchObject({
      outcome: 'part',
      sequence: 9,
      toIncarnation: lifeOf(1),
      fromReplica: 2,
      fromIncarnation: lifeOf(2),
      baseIndex: 30,
      baseTerm: 1,
      part: 0,
    });
    const { sha256 } = nodeCryptography;
    const content = answer?.content ?? new Uint8Array(0);
    expect(decodeManifest(content, { path: 'it', sha256 })).toEqual(newer.manifest);
  });

  test('gives the manifest and the parts of the one that is named', async () => {
    const world = new World();

    expect((await world.ask(partOf(older, 0)))?.content).toEqual(encodeManifest(older.manifest));
    expect(await world.ask(partOf(older, 2))).toMatchObject({
      outcome: 'part',
      baseIndex: 20,
      part: 2,
      content: older.parts[1],
    });
  });

  test('has none when none reaches far enough, or the part is none', async () => {
    const world = new World();

    expect(await world.ask({ minIndex: logIndex(31) })).toMatchObject({ outcome: 'none' });
    const beyond = older.parts.length + 1;
    expect(await world.ask(partOf(older, beyond))).toMatchObject({ outcome: 'none', part: beyond });
  });

  test('says that the named one is gone, at once or while it is read', async () => {
    const world = new World();
    await world.folder.remove(older.manifest);

    expect(await world.ask(partOf(older, 1))).toMatchObject({ outcome: 'gone', baseIndex: 20 });
    const goOn = world.folder.holdAt('read 1 of 30');
    const late = world.ask(partOf(newer, 1));
    await world.folder.remove(newer.manifest);
    goOn();
    expect(await late).toMatchObject({ outcome: 'gone', baseIndex: 30, part: 1 });
  });

  test('names no damaged one a second time', async () => {
    const world = new World();
    world.folder.bad.add(newer.manifest.contentHash);

    expect(await world.ask(partOf(newer, 1))).toMatchObject({ outcome: 'damaged' });
    expect(world.observer.of('snapshotUnreadable')).toHaveLength(1);
    expect(await world.ask()).toMatchObject({ outcome: 'part', baseIndex: 20 });
    expect(await world.ask({ minIndex: logIndex(25) })).toMatchObject({ outcome: 'none' });
  });

  test('gives one part at a time', async () => {
    const world = new World();
    const goOn = world.folder.holdAt('read 1 of 30');

    const first = world.ask(partOf(newer, 1));
    await world.ask(partOf(newer, 2));
    expect(world.answers).toMatchObject([{ outcome: 'busy', part: 2 }]);
    goOn();
    await first;

    expect(world.answers).toMatchObject([{ part: 2 }, { outcome: 'part', part: 1 }]);
    expect(await world.ask(partOf(newer, 2))).toMatchObject({ outcome: 'part' });
  });

  test('lets entries go first where the way is full', async () => {
    const world = new World();
    world.way.isCongested = true;

    expect(await world.ask(partOf(newer, 1))).toMatchObject({ outcome: 'busy' });
    expect(world.folder.steps).toEqual([]);
  });

  test('gives nothing when its ledger lost evidence, and says so: it is waited for', async () => {
    const world = new World();
    world.state.hasLostEvidence = true;
    expect(await world.ask()).toMatchObject({ outcome: 'none' });
    expect(await world.ask(partOf(newer, 1))).toMatchObject({ outcome: 'gone' });
    expect(world.server.leaseFloor()).toBeUndefined();

    world.state.hasLostEvidence = false;
    const goOn = world.folder.holdAt('read 1 of 30');
    const late = world.ask(partOf(newer, 1));
    world.state.hasLostEvidence = true;
    goOn();
    expect(await late).toMatchObject({ outcome: 'gone', content: new Uint8Array(0) });
  });

  test('says nothing when it is closed', async () => {
    const world = new World();
    const goOn = world.folder.holdAt('read 1 of 30');
    const late = world.ask(partOf(newer, 1));
    world.server.close();
    goOn();
    expect(await late).toBeUndefined();
    expect(await world.ask()).toBeUndefined();
  });
});

test('what is asked for is leased for ten seconds with every question', async () => {
  const world = new World();
  const { server, clock } = world;
  expect(server.leaseFloor()).toBeUndefined();

  await world.ask();
  expect(server.leasedIndexes).toEqual([30]);
  expect(server.isLeased(newer.manifest)).toBe(true);
  expect(server.isLeased(older.manifest)).toBe(false);
  await clock.advance(9_000);
  await world.ask(partOf(older, 1));
  expect(server.leaseFloor()).toBe(20);
  await clock.advance(9_000);
  expect(server.leasedIndexes).toEqual([20]);
  await clock.advance(1_000);
  expect(server.leaseFloor()).toBeUndefined();
  await settled();
});
