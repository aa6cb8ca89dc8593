/** Fetching a snapshot from other members, and installing it. */
import { describe, expect, test } from 'vitest';

import { InvariantError } from '../../src/base/assert.ts';
import { ClustorError } from '../../src/base/errors.ts';
import { logIndex, nodeId } from '../../src/base/ids.ts';
import { spoiled, wanted, World } from './install-world.ts';
import { settled } from './hand-clock.ts';
import { snapshotOf, type Tamper } from './snapshot-peers.ts';

const partCount = wanted.parts.length;

const silent: Tamper = () => undefined;

describe('a snapshot that is needed', () => {
  test('is fetched from the leader part by part, written, and installed', async () => {
    const world = new World();

    await world.untilAsked(world.leader, 0);
    expect(world.desk.status).toMatchObject({ isPulling: true, fromNodeId: 2 });
    await world.pass(100);

    expect(world.installed).toEqual([wanted.manifest]);
    expect(world.leader.requests.map(({ part }) => part)).toEqual(
      Array.from({ length: partCount + 1 }, (_, part) => part),
    );
    expect(world.leader.requests[0]).toMatchObject({ minIndex: 25, baseIndex: 0, baseTerm: 0 });
    expect(world.leader.requests[1]).toMatchObject({ baseIndex: 30, baseTerm: 1 });
    expect(world.folder.published).toEqual([wanted.manifest]);
    expect(world.folder.steps).not.toContain('abort 30');
    expect(world.other.requests).toEqual([]);
    expect(world.observer.of('snapshotPulled')).toMatchObject([{ index: 30, nodeId: 2 }]);
    expect(world.desk.status).toEqual({
      isPulling: false,
      fromNodeId: undefined,
      partsDone: 0,
      parts: 0,
      attempts: 0,
      lastFailure: '',
    });
    expect(world.clock.timerCount).toBe(0);
  });

  test('is asked for one part at a time, and progress is told', async () => {
    const world = new World();
    world.leader.tamper = (response) => (response.part === 3 ? undefined : response);

    await world.pass(300);

    expect(world.leader.requests.at(-1)).toMatchObject({ part: 3 });
    expect(world.desk.status).toMatchObject({ partsDone: 2, parts: partCount });
    expect(world.folder.steps.filter((step) => step === 'write 30')).toHaveLength(2);
  });

  test('is not asked for while none is needed', async () => {
    const world = new World();
    world.minIndex = undefined;

    await world.pass(1_000);
    world.desk.peerConnected(nodeId(2));
    await world.pass(1_000);

    expect(world.leader.requests).toEqual([]);
  });

  test('comes from the next member when the leader is silent, round after round', async () => {
    const world = new World({ other: [] });
    world.leader.tamper = silent;

    await world.pass(8_000);
    expect(world.leader.requests.length).toBeGreaterThan(1);
    expect(world.other.requests.length).toBeGreaterThan(1);
    expect(world.desk.status.attempts).toBeGreaterThan(1);
    expect(world.desk.status.lastFailure).toMatch(/node 3: it has no snapshot/);
    expect(world.observer.of('snapshotNotPulled').length).toBeGreaterThan(1);

    world.other.tamper = world.leader.tamper = (response) => response;
    await world.pass(60_000);
    expect(world.installed).toEqual([wanted.manifest]);
    expect(world.desk.status.attempts).toBe(0);
  });

  test('is waited for longer with each round in vain, up to a minute', async () => {
    const world = new World({ leader: [], other: [] });
    const roundsWithin = async (durationMs: number): Promise<number> => {
      const before = world.leader.requests.length;
      await world.pass(durationMs);
      return world.leader.requests.length - before;
    };

    expect(await roundsWithin(3_500)).toBe(3);
    expect(await roundsWithin(60_000)).toBeLessThan(6);
    expect(await roundsWithin(600_000)).toBeLessThanOrEqual(11);
    expect(world.other.requests).toHaveLength(world.leader.requests.length);
  });

  test('is asked for at once of a member that becomes reachable, and of it first', async () => {
    const world = new World({ leader: [], other: [] });
    world.other.way.isUp = false;
    await world.pass(20_000);
    const asked = world.leader.requests.length;
    world.desk.peerConnected(nodeId(3));
    await settled();
    expect(world.other.requests).toEqual([]);

    await world.pass(100);
    world.other.way.isUp = true;
    await world.other.folder.begin({ ...wanted.manifest }).then(async (writer) => {
      for (const part of wanted.parts) await writer.write(part);
      await writer.finish({ stateBytes: wanted.manifest.stateBytes });
    });
    world.desk.peerConnected(nodeId(3));
    await settled();
    await settled();
    await world.clock.advance(0);
    await world.pass(100);

    expect(world.installed).toEqual([wanted.manifest]);
    expect(world.leader.requests.length - asked).toBeLessThanOrEqual(1);
  });
});

describe('when the need changes meanwhile', () => {
  test('a snapshot that ends too early by now is given up, and a later one is fetched', async () => {
    const later = snapshotOf(50);
    const world = new World({ other: [wanted, later] });

    await world.untilAsked(world.leader, 2);
    world.minIndex = logIndex(40);
    await world.pass(500);

    expect(world.folder.steps).toContain('abort 30');
    expect(world.installed).toEqual([later.manifest]);
  });

  test('an attempt goes on for a while without a need, and nothing is installed then', async () => {
    const world = new World();
    await world.untilAsked(world.leader, 2);
    world.minIndex = undefined;
    await world.pass(500);
    expect(world.folder.published).toEqual([wanted.manifest]);
    expect(world.installed).toEqual([]);

    world.minIndex = logIndex(26);
    await world.pass(100);

    expect(world.installed).toEqual([wanted.manifest]);
    expect(world.leader.requests.filter(({ part }) => part === 0)).toHaveLength(1);
  });

  test('an attempt that nobody needs for long ends', async () => {
    const world = new World();
    await world.untilAsked(world.leader, 2);
    world.minIndex = undefined;
    world.leader.tamper = spoiled(3, { outcome: 'busy' });
    await world.pass(12_000);
    world.leader.tamper = (response) => response;
    await world.pass(2_000);

    expect(world.folder.steps.at(-1)).toBe('abort 30');
    expect(world.desk.status.isPulling).toBe(false);
  });

  test('what was installed and is outdated already is followed by the next one at once', async () => {
    const later = snapshotOf(50);
    const world = new World({ leader: [wanted, later] });
    let isFirst = true;
    world.leader.tamper = (response) => response;
    await world.leader.folder.remove(later.manifest);
    world.install = async (manifest) => {
      world.installed.push(manifest);
      world.minIndex = isFirst ? logIndex(50) : undefined;
      isFirst = false;
      await Promise.resolve();
    };
    const other = world.other.folder;
    const writer = await other.begin({ ...later.manifest, partBytes: 4 });
    for (const part of later.parts) await writer.write(part);
    await writer.finish({ stateBytes: later.manifest.stateBytes });

    await world.pass(900);

    expect(world.installed.map(({ index }) => index)).toEqual([30, 50]);
  });

  test('what was installed and is needed still is no reason to go on at once', async () => {
    const world = new World();
    world.install = async (manifest) => {
      world.installed.push(manifest);
      await Promise.resolve();
    };

    await world.pass(900);

    expect(world.installed.length).toBeLessThanOrEqual(2);
    expect(world.desk.status.attempts).toBe(1);
  });
});

describe('a snapshot that is here already', () => {
  test('is verified and installed instead of fetched when the log does not reach it', async () => {
    const world = new World({ own: [snapshotOf(27), wanted] });

    await world.pass(100);

    expect(world.installed).toEqual([wanted.manifest]);
    expect(world.folder.steps).toEqual(['verify 30']);
    expect(world.leader.requests).toEqual([]);
  });

  test('is none when it ends too early, or the log reaches it', async () => {
    const world = new World({ own: [snapshotOf(24), snapshotOf(26)], lastIndex: 28 });

    await world.pass(200);

    expect(world.folder.steps.some((step) => step.startsWith('verify'))).toBe(false);
    expect(world.installed).toEqual([wanted.manifest]);
  });

  test('goes when it is damaged, and is fetched anew', async () => {
    const world = new World({ own: [wanted] });
    world.folder.bad.add(wanted.manifest.contentHash);

    world.desk.review();
    await settled();
    world.folder.bad.clear();
    await world.pass(200);

    expect(world.folder.steps.slice(0, 3)).toEqual(['verify 30', 'remove 30', 'begin 30']);
    expect(world.observer.of('snapshotUnreadable')).toHaveLength(1);
    expect(world.installed).toEqual([wanted.manifest]);
  });

  test('takes the place of one that another member names for the same entry', async () => {
    const own = snapshotOf(30, 'made by this node');
    const world = new World({ own: [own], lastIndex: 40 });

    await world.pass(200);

    expect(world.leader.requests.map(({ part }) => part)).toEqual([0]);
    expect(world.installed).toEqual([own.manifest]);
  });
});

describe('what goes wrong here', () => {
  test.each(['CLUSTOR_STORAGE_FAILED', 'CLUSTOR_DISK_HARD'] as const)(
    '(%s of the own disk) ends the attempt, which is made again later',
    async (code) => {
      const world = new World();
      world.folder.writeError = new ClustorError(code, 'no');

      await world.pass(900);
      expect(world.observer.of('snapshotNotInstalled')).toMatchObject([{ code, attempts: 1 }]);
      expect(world.folder.steps.at(-1)).toBe('abort 30');
      expect(world.other.requests).toEqual([]);
      world.desk.peerConnected(nodeId(3));
      await settled();
      expect(world.other.requests).toEqual([]);
      world.folder.writeError = undefined;
      await world.pass(500);

      expect(world.installed).toEqual([wanted.manifest]);
    },
  );

  test('while it is installed is tried again without fetching it again', async () => {
    const world = new World();
    const { install } = world;
    world.install = () => Promise.reject(new ClustorError('CLUSTOR_STORAGE_FAILED', 'no'));

    await world.pass(900);
    expect(world.observer.of('snapshotNotInstalled')).toHaveLength(1);
    world.install = install;
    await world.pass(500);

    expect(world.installed).toEqual([wanted.manifest]);
    expect(world.leader.requests).toHaveLength(partCount + 1);
  });

  test('with what was written ends the attempt, and nothing of it stays', async () => {
    const world = new World();
    world.folder.createdMs = 99;

    await world.pass(500);

    expect(world.folder.published).toEqual([]);
    expect(world.installed).toEqual([]);
    expect(world.observer.of('snapshotRefused')).toHaveLength(2);
  });

  test('as an own mistake is told to who takes what must not happen', async () => {
    const world = new World();
    world.install = () => Promise.reject(new InvariantError('broken'));

    await world.pass(100);

    expect(world.failures).toHaveLength(1);
  });
});

describe('a desk that is closed', () => {
  const counts = Array.from({ length: 2 * partCount + 8 }, (_, count) => count);
  test.each(counts)('after %i turns of the loop does nothing more', async (turns) => {
    const world = new World();
    world.desk.review();
    for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve));

    const closed = world.desk.close();
    const before = [...world.folder.steps];
    const asked = world.leader.requests.length + world.leader.way.sent.length;
    await closed;
    await world.pass(30_000);
    world.desk.peerConnected(nodeId(2));
    await world.pass(1_000);
    await world.desk.close();

    expect(world.folder.steps).toEqual(before);
    expect(world.leader.way.sent.length + world.leader.requests.length).toBeLessThanOrEqual(
      asked + 1,
    );
    expect(world.clock.timerCount).toBe(0);
    expect(world.desk.status.isPulling).toBe(false);
    expect(world.installed.length).toBeLessThanOrEqual(1);
  });

  test.each(['verify 27', 'begin 30', 'write 30', 'finish 30'])(
    'while the disk is at "%s" begins no further step',
    async (step) => {
      const world = new World(step === 'verify 27' ? { own: [snapshotOf(27)] } : {});
      const goOn = world.folder.holdAt(step);
      world.desk.review();
      await settled();
      expect(world.folder.steps.at(-1)).toBe(step);

      const closed = world.desk.close();
      const before = world.folder.steps.length;
      goOn();
      await closed;
      await world.pass(5_000);

      expect(world.folder.steps).toHaveLength(before);
      expect(world.installed).toEqual([]);
    },
  );
});
