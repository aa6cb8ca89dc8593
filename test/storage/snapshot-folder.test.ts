/** Snapshots on a simulated disk: whole or not there, whatever happens to it (specification §7, §8). */
import { describe, expect, test } from 'vitest';

import { present } from '../../src/base/assert.ts';
import { isClustorError } from '../../src/base/errors.ts';
import { logIndex, partitionId } from '../../src/base/ids.ts';
import { snapshotKeyEpochs } from '../../src/storage/snapshot-files.ts';
import type { SnapshotFolder, SnapshotManifest } from '../../src/storage/snapshot-folder.ts';
import {
  configuration,
  directory,
  placeOf,
  somePartition,
  SnapshotWorld,
  streamOf,
  type Wanted,
} from './snapshot-world.ts';

const snapshots = `${directory}/partitions/${somePartition}/snapshot`;
const kinds = [false, true];

async function begun(seed: number, isEncrypted = false): Promise<SnapshotWorld> {
  const world = new SnapshotWorld(seed, isEncrypted);
  await world.begin();
  return world;
}

async function written(
  world: SnapshotWorld,
  folder: SnapshotFolder,
  wanted: Wanted,
): Promise<SnapshotManifest> {
  return present(await world.write(folder, wanted), 'a snapshot is written');
}

async function codeOf(world: SnapshotWorld, asked: Promise<unknown>): Promise<string> {
  return codeOfRun(world.settle(asked));
}

async function codeOfRun(asked: Promise<unknown>): Promise<string> {
  try {
    await asked;
  } catch (error) {
    if (isClustorError(error)) return error.code;
    throw error;
  }
  return 'none';
}

function pathOfPart(world: SnapshotWorld, index: number, number: number): string {
  const end = `2-${index}/chunks/00000${number}`;
  return present(
    world.disk.paths().find((path) => path.includes(end)),
    'the part is there',
  );
}

describe.each(kinds)('a snapshot (encrypted: %s)', (isEncrypted) => {
  test.each([
    { length: 0, stateBytes: 0, parts: 0 },
    { length: 1, stateBytes: 1, parts: 1 },
    { length: 5_000, stateBytes: 5_000, parts: 1 },
    { length: 5_001, stateBytes: 0, parts: 2 },
    { length: 23_456, stateBytes: 11_000, parts: 5 },
    { length: 15_000, stateBytes: 10_000, parts: 3 },
  ])('gives back what was written: $length bytes', async ({ length, stateBytes, parts }) => {
    const world = await begun(1, isEncrypted);
    const folder = await world.folder();
    const manifest = await written(world, folder, { index: 7, length, stateBytes });

    expect(manifest.parts.length).toBe(parts);
    expect(manifest).toMatchObject({
      stateBytes,
      machineBytes: length - stateBytes,
      configuration,
    });
    expect(folder.published).toEqual([manifest]);
    expect(await world.settle(folder.verify(manifest))).toBeUndefined();
    expect(await world.settle(folder.stateBytes(manifest))).toEqual(
      streamOf(7, length).subarray(0, stateBytes),
    );
    expect(await world.read(folder, manifest)).toEqual(streamOf(7, length));
  });

  test('is there in the next life, and its plaintext is not on the disk with encryption', async () => {
    const world = await begun(2, isEncrypted);
    const manifest = await written(world, await world.folder(), { index: 7, length: 12_000 });
    world.crash('powerLoss');
    await world.begin();
    const folder = await world.folder();

    expect(folder.published).toEqual([manifest]);
    expect(await world.read(folder, manifest)).toEqual(streamOf(7, 12_000));
    const start = Buffer.from(streamOf(7, 32));
    const holdsPlain = world.disk
      .paths()
      .some((path) => Buffer.from(world.disk.syncedBytes(path) ?? []).includes(start));
    expect(holdsPlain).toBe(!isEncrypted);
  });

  test('is refused when a bit of a part has rotted, by its reading and its verification', async () => {
    const world = await begun(3, isEncrypted);
    const folder = await world.folder();
    const manifest = await written(world, folder, { index: 7, length: 12_000 });
    for (const [number, position] of [
      [1, 0],
      [2, 4_999],
      [3, 1_000],
    ] as const) {
      const path = pathOfPart(world, 7, number);
      world.disk.flipBit(path, position, 3);

      expect(await world.settle(folder.verify(manifest))).toContain(`part ${number}`);
      expect(await codeOf(world, folder.part(manifest, number))).toBe('CLUSTOR_INTEGRITY');
      expect(await codeOfRun(world.read(folder, manifest))).toBe('CLUSTOR_INTEGRITY');

      world.disk.flipBit(path, position, 3);
      expect(await world.settle(folder.verify(manifest))).toBeUndefined();
    }
  });

  test('is refused when a part is gone, is another one, or is cut', async () => {
    const world = await begun(4, isEncrypted);
    const folder = await world.folder();
    const manifest = await written(world, folder, { index: 7, length: 12_000 });
    const other = await written(world, folder, { index: 9, length: 12_000 });
    const { fileSystem } = world;
    const path = pathOfPart(world, 7, 2);
    const good = present(await world.settle(fileSystem.readFile(path)), 'its bytes');
    const foreign = present(
      await world.settle(fileSystem.readFile(pathOfPart(world, 9, 2))),
      'bytes',
    );
    const twin = present(await world.settle(fileSystem.readFile(pathOfPart(world, 7, 1))), 'bytes');
    const longer = new Uint8Array(3 * 1024 * 1024);
    for (const bad of [foreign, twin, good.subarray(0, 4_999), new Uint8Array(0), longer]) {
      await world.settle(fileSystem.replaceFile(path, bad));
      expect(await world.settle(folder.verify(manifest))).toMatch(/part 2|000002/);
    }
    await world.settle(fileSystem.remove(path));
    expect(await world.settle(folder.verify(manifest))).toContain('is gone');
    expect(await codeOf(world, folder.part(manifest, 2))).toBe('CLUSTOR_INTEGRITY');
    expect(await codeOf(world, folder.part(manifest, 4))).toBe('CLUSTOR_INTEGRITY');
    expect(await world.settle(folder.verify(other))).toBeUndefined();
  });

  test('is refused where the disk does not give a part back', async () => {
    const world = await begun(5, isEncrypted);
    const folder = await world.folder();
    const manifest = await written(world, folder, { index: 7, length: 12_000 });
    const path = pathOfPart(world, 7, 2);
    const failOften = (): void => {
      for (let times = 0; times < 20; times++) world.disk.failNext('read', 'EIO');
    };
    failOften();
    expect(await codeOf(world, folder.part(manifest, 2))).toBe('CLUSTOR_INTEGRITY');
    world.disk.heal();
    failOften();
    expect(await world.settle(folder.verify(manifest))).toContain('the disk refuses');
    world.disk.heal();

    world.disk.failNextAt(path, 'read', 'EIO');
    expect(await world.settle(folder.verify(manifest)), 'once is no damage').toBeUndefined();
    world.disk.failNextAt(path, 'read', 'EMFILE');
    expect(await codeOf(world, folder.verify(manifest)), 'nothing is said of the part').toBe(
      'CLUSTOR_STORAGE_FAILED',
    );
  });

  test('is not published under a manifest that rotted, which another attempt replaces', async () => {
    const world = await begun(6, isEncrypted);
    const first = await world.folder();
    const manifest = await written(world, first, { index: 7, length: 12_000 });
    const path = `${snapshots}/2-7/manifest.json`;
    world.disk.flipBit(path, 40, 0);
    expect(await world.settle(first.verify(manifest))).toContain('manifest.json');
    const folder = await world.folder();
    expect(folder.published).toEqual([]);
    expect(folder.damaged.map(({ index }) => index)).toEqual([7]);
    expect(world.disk.find(path)).toBeDefined();

    await written(world, folder, { index: 7, length: 8_000 });

    expect(folder.damaged).toEqual([]);
    expect(folder.published.map(({ index }) => index)).toEqual([7]);
  });

  test('is not published when a part is not on the disk as it was meant, and leaves nothing', async () => {
    const world = await begun(6, isEncrypted);
    const folder = await world.folder();
    const place = { ...placeOf(7), partBytes: 5_000 };
    const writer = present(await world.settle(folder.begin(place)), 'an attempt');
    await world.settle(writer.write(streamOf(7, 12_000)));
    expect(world.disk.flipBit(pathOfPart(world, 7, 2), 100, 3)).toBe(true);

    expect(await codeOf(world, writer.finish({ stateBytes: 10 }))).toBe('CLUSTOR_INTEGRITY');

    expect(folder.published).toEqual([]);
    expect(world.disk.list(snapshots)).toEqual([]);
    await written(world, folder, { index: 7, length: 12_000 });
    expect((await world.folder()).published.map(({ index }) => index)).toEqual([7]);
  });

  test('has one hash wherever it was made, and another one for another content', async () => {
    const world = await begun(7, isEncrypted);
    const folder = await world.folder();
    const manifest = await written(world, folder, { index: 7, length: 12_000 });
    const other = await begun(8, !isEncrypted);
    const pulled = await other.folder();
    const { index, createdMs } = manifest;
    const partBytes = present(manifest.parts[0], 'a part').bytes;
    const place = { ...placeOf(index), createdMs, partBytes };
    const writer = present(await other.settle(pulled.begin(place)), 'a writer');
    for (const number of [1, 2, 3]) {
      const part = present(await world.settle(folder.part(manifest, number)), 'a part');
      await other.settle(writer.write(part));
    }
    const copy = present(await other.settle(writer.finish({ stateBytes: 10 })), 'it is published');

    expect(copy.contentHash).toBe(manifest.contentHash);
    const later = await written(world, folder, { index: 8, length: 12_000 });
    expect(later.contentHash).not.toBe(manifest.contentHash);
  });
});

describe('the folder of a partition', () => {
  test('has one attempt at a time, and refuses one at a place that is published', async () => {
    const world = await begun(11);
    const folder = await world.folder();
    await written(world, folder, { index: 5, length: 100 });
    const place = placeOf(6);
    const writer = present(await world.settle(folder.begin(place)), 'a writer');

    expect(await codeOf(world, folder.begin({ ...place, index: logIndex(7) }))).toBe(
      'CLUSTOR_OVERLOADED',
    );
    await world.settle(writer.abort());
    await world.settle(writer.abort());
    expect(await codeOf(world, writer.write(new Uint8Array(1)))).toBe('CLUSTOR_CLOSED');
    expect(await codeOf(world, folder.begin({ ...place, index: logIndex(5) }))).toBe(
      'CLUSTOR_ALREADY_INITIALIZED',
    );
    await written(world, folder, { index: 6, length: 100 });

    expect(folder.published.map(({ index }) => index)).toEqual([5, 6]);
  });

  test('does not mix with that of another partition', async () => {
    const world = await begun(12, true);
    const folder = await world.folder();
    const second = partitionId('018c0d6c-9c11-7e9d-8000-00000000000b');
    const other = await world.folder(second);
    const manifest = await written(world, folder, { index: 5, length: 9_000 });
    const foreign = await written(world, other, { index: 5, length: 9_000 });
    expect(foreign.contentHash).not.toBe(manifest.contentHash);

    // The files of one in the place of the other's.
    for (const path of world.disk.paths().filter((name) => name.includes(somePartition))) {
      const bytes = present(await world.settle(world.fileSystem.readFile(path)), 'bytes');
      await world.settle(world.fileSystem.replaceFile(path.replace(somePartition, second), bytes));
    }

    expect(await world.settle(other.verify(foreign))).toContain('manifest.json');
    expect(await codeOf(world, other.part(foreign, 1))).toBe('CLUSTOR_INTEGRITY');
    const reopened = await world.folder(second);
    expect(reopened.published).toEqual([]);
    expect(reopened.damaged[0]?.reason).toContain('another snapshot');
  });

  test('removes what is below an index, but one', async () => {
    const world = await begun(13);
    const folder = await world.folder();
    const rows = [];
    for (const index of [3, 5, 9, 12])
      rows.push(await written(world, folder, { index, length: 6_000 }));

    await world.settle(folder.removeBelow(logIndex(12), rows[1]));

    expect(folder.published.map(({ index }) => index)).toEqual([5, 12]);
    expect(world.disk.list(snapshots)).toEqual(['2-12', '2-5']);
    const gone = present(rows[0], 'the first');
    expect(await codeOf(world, folder.part(gone, 1))).toBe('CLUSTOR_LOG_COMPACTED');
    expect(await codeOf(world, folder.verify(gone))).toBe('CLUSTOR_LOG_COMPACTED');
    await world.settle(folder.remove(gone));
  });

  test('leaves alone what it does not know', async () => {
    const world = await begun(14);
    await world.settle(world.fileSystem.makeDirectory(`${snapshots}/notes`));
    await world.settle(world.fileSystem.replaceFile(`${snapshots}/README`, new Uint8Array(3)));
    const folder = await world.folder();
    await written(world, folder, { index: 3, length: 10 });
    await world.settle(folder.removeBelow(logIndex(9)));

    expect(world.disk.list(snapshots)).toEqual(['README', 'notes']);
  });

  test.each(['write', 'sync', 'rename', 'directorySync'] as const)(
    'is as before where the disk fails: %s',
    async (kind) => {
      const world = await begun(15);
      const folder = await world.folder();
      await written(world, folder, { index: 3, length: 9_000 });
      for (const [systemCode, code] of [
        ['ENOSPC', 'CLUSTOR_DISK_HARD'],
        ['EIO', 'CLUSTOR_STORAGE_FAILED'],
      ] as const) {
        world.disk.failNextAt(`${snapshots}/2-9/manifest.json`, kind, systemCode);
        expect(await codeOfRun(world.write(folder, { index: 9, length: 9_000 }))).toBe(code);
        expect(world.disk.list(snapshots)).toEqual(['2-3']);

        const writer = present(await world.settle(folder.begin(placeOf(9))), 'the next may begin');
        world.disk.failNextAt(`${snapshots}/2-9/chunks/000001`, kind, systemCode);
        const large = new Uint8Array(1024 * 1024);
        expect(await codeOf(world, writer.write(large))).toBe(code);
        expect(await codeOf(world, writer.write(large)), 'nothing follows').toBe(code);
        await world.settle(writer.abort());
        expect(world.disk.list(snapshots)).toEqual(['2-3']);
      }
      expect(folder.published.map(({ index }) => index)).toEqual([3]);
      await written(world, folder, { index: 9, length: 9_000 });
      expect(await world.settle(folder.verify(placeOf(9)))).toBeUndefined();
    },
  );
});

describe('the keys of snapshots', () => {
  test('a snapshot whose key epoch is gone is refused, not a crash', async () => {
    const world = await begun(21, true);
    const folder = await world.folder();
    const manifest = await written(world, folder, { index: 7, length: 12_000 });
    await world.rotateKeys();
    await world.settle(present(world.keys.ring, 'a ring').destroyBefore(2));

    expect(await world.settle(folder.verify(manifest))).toContain('key epoch 1');
    expect(await codeOf(world, folder.part(manifest, 1))).toBe('CLUSTOR_INTEGRITY');
  });

  test('a snapshot that is encrypted is refused without a ring', async () => {
    const world = await begun(22, true);
    const manifest = await written(world, await world.folder(), { index: 7, length: 12_000 });
    world.isEncrypted = false;
    await world.settle(world.fileSystem.remove(`${directory}/wal/keys.json`));
    await world.begin();
    const folder = await world.folder();

    expect(folder.published).toEqual([manifest]);
    expect(await world.settle(folder.verify(manifest))).toContain('cannot be unwrapped');
  });

  test('are wrapped anew, so that an old epoch may go', async () => {
    const world = await begun(23, true);
    const folder = await world.folder();
    const old = await written(world, folder, { index: 7, length: 12_000 });
    await world.rotateKeys();
    await written(world, folder, { index: 8, length: 12_000 });

    await world.settle(folder.rewrap());
    await world.settle(present(world.keys.ring, 'a ring').destroyBefore(2));

    expect(folder.published.map(({ encryption }) => encryption?.dekEpoch)).toEqual([2, 2]);
    expect(folder.published[0]?.contentHash).toBe(old.contentHash);
    for (const manifest of folder.published)
      expect(await world.settle(folder.verify(manifest))).toBeUndefined();
    expect(await world.read(folder, old), 'an older manifest still names it').toEqual(
      streamOf(7, 12_000),
    );
    expect(world.reusedNonces).toEqual([]);
    const epochs = present(
      await world.settle(
        snapshotKeyEpochs(world.fileSystem, directory, (bytes) =>
          world.encryption.watch.sha256(bytes),
        ),
      ),
      'they are read',
    );
    expect([...epochs.values()]).toEqual([2, 2]);
  });

  test('a plain snapshot is sealed where it lies when there are keys, and none is taken from then on', async () => {
    const world = await begun(24);
    const plain = await written(world, await world.folder(), { index: 7, length: 12_000 });
    world.crash('powerLoss');
    world.isEncrypted = true;
    world.firstSegmentSeq = 2;
    await world.begin();
    const folder = await world.folder();
    expect(await world.settle(folder.verify(plain)), 'from the time before').toBeUndefined();
    await world.settle(folder.rewrap());
    const [sealed] = folder.published;

    expect(sealed?.encryption?.dekEpoch).toBe(1);
    expect(await world.read(folder, plain)).toEqual(streamOf(7, 12_000));
    expect(world.disk.list(`${snapshots}/2-7/chunks`)).toEqual([
      '000001.sealed',
      '000002.sealed',
      '000003.sealed',
    ]);

    // Nobody puts a plain one among files that are all encrypted.
    await world.rotateKeys();
    await world.settle(folder.rewrap());
    await world.settle(present(world.keys.ring, 'a ring').destroyBefore(2));
    const other = await begun(25);
    const forged = await written(other, await other.folder(), { index: 9, length: 4_000 });
    await world.settle(world.fileSystem.makeDirectory(`${snapshots}/2-9/chunks`));
    for (const path of other.disk.paths().filter((name) => name.includes('/2-9/')))
      await world.settle(
        world.fileSystem.replaceFile(path, present(other.disk.syncedBytes(path), 'its bytes')),
      );
    const looked = await world.folder();
    expect(looked.published.length).toBe(2);
    expect(await world.settle(looked.verify(forged))).toContain('is not encrypted');
  });

  test('a manifest whose content was changed is not opened by its key', async () => {
    const world = await begun(26, true);
    const folder = await world.folder();
    const good = await written(world, folder, { index: 7, length: 3_000 });
    const other = await begun(27, false);
    const forged = await written(other, await other.folder(), { index: 7, length: 4_000 });
    const { encodeManifest } = await import('../../src/codec/snapshot-manifest.ts');
    const bytes = encodeManifest({ ...forged, encryption: good.encryption });
    await world.settle(world.fileSystem.replaceFile(`${snapshots}/2-7/manifest.json`, bytes));
    const looked = await world.folder();

    expect(looked.published.length).toBe(1);
    expect(await world.settle(looked.verify(forged))).toContain('cannot be unwrapped');
  });
});
