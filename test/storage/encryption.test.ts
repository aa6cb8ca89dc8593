/** Encrypted directories: keys that do not fit, damage, crashes, rotation, rewriting (specification §8.2, KER-7). */
import { describe, expect, test } from 'vitest';

import { present } from '../../src/base/assert.ts';
import { crc32c } from '../../src/base/crc32c.ts';
import { ClustorError } from '../../src/base/errors.ts';
import { nodeId } from '../../src/base/ids.ts';
import { blockBytes, blockOffset, segmentFileName } from '../../src/codec/segment-format.ts';
import { LocalKeyProvider } from '../../src/security/local-key-provider.ts';
import { nodeCryptography } from '../../src/security/node-cryptography.ts';
import type { KeyStatus } from '../../src/storage/key-desk.ts';
import { SimEncryption } from '../../src/testing/sim-encryption.ts';
import { SimEntropy } from '../../src/testing/sim-entropy.ts';
import type { CrashKind } from '../../src/testing/sim-file-system.ts';
import { StoreWorld, type PartitionModel } from './store-world.ts';

const ringPath = '/data/wal/keys.json';
const kinds: readonly CrashKind[] = ['powerLoss', 'processKill'];

function segmentPath(segmentSeq: number): string {
  return `/data/wal/${segmentFileName(segmentSeq)}`;
}

function firstOf(world: StoreWorld): PartitionModel {
  return present(world.partitions[0], 'a partition');
}

async function write(world: StoreWorld, count = 3, bytes = 500): Promise<void> {
  for (const model of world.partitions) world.append(model, count, bytes);
  world.store?.flush();
  await world.run(100);
}

async function begin(seed: number, isEncrypted = true): Promise<StoreWorld> {
  const world = new StoreWorld({
    seed,
    partitions: 2,
    limits: {
      segmentBytes: 8 * 1024 * 1024,
      logBytesMax: 256 * 1024 * 1024,
      ledgerBytes: 256 * 1024,
    },
    isEncrypted,
  });
  await world.open();
  await world.createReplicas();
  await restart(world, 'processKill');
  for (const model of world.partitions) world.vote(model);
  world.store?.flush();
  await world.run(50);
  await write(world);
  expect(firstOf(world).durableIndex).toBe(3);
  return world;
}

async function restart(world: StoreWorld, kind: CrashKind = 'powerLoss'): Promise<void> {
  world.crash(kind);
  await world.open();
}

async function codeOfOpen(world: StoreWorld): Promise<string | undefined> {
  world.crash('powerLoss');
  try {
    await world.open();
    return undefined;
  } catch (error) {
    return error instanceof ClustorError ? error.code : String(error);
  } finally {
    world.crash('processKill');
  }
}

function keysOf(world: StoreWorld): KeyStatus {
  return present(world.store, 'an open store').keyDesk.status();
}

async function rotate(world: StoreWorld): Promise<void> {
  await world.settle(present(world.store, 'an open store').keyDesk.rotate());
}

/** Lets the background come to its end, without a crash. */
async function rewritten(world: StoreWorld): Promise<void> {
  await world.run(60_000, () => keysOf(world).segmentsToRewrite === 0);
  // The last thing that it does is to destroy keys.
  await world.run(500);
}

function replaceBytes(world: StoreWorld, path: string, bytes: Uint8Array): void {
  const file = present(world.disk.find(path), path);
  file.truncate(0);
  file.write(0, bytes);
  file.sync();
}

function bytesOf(world: StoreWorld, path: string): Uint8Array {
  return present(world.disk.syncedBytes(path), path).slice();
}

function providerWith(kek: number, id = 'kek-1'): LocalKeyProvider {
  return new LocalKeyProvider({
    name: 'another KEK',
    keks: new Map([[id, new Uint8Array(32).fill(kek)]]),
    cryptography: nodeCryptography,
    entropy: new SimEntropy(new StoreWorld({ seed: 1, partitions: 0 }).random),
  });
}

/** Segments on the disk, those made ready ahead included. */
function segmentsOf(world: StoreWorld): readonly number[] {
  return world.disk
    .list('/data/wal')
    .flatMap((name) => /^segment-(\d+)\.log$/.exec(name)?.[1] ?? [])
    .map(Number);
}

describe('an encrypted directory', () => {
  test('gives back after a power loss what was durable, and holds none of it in the clear', async () => {
    const world = await begin(1);
    const text = new TextEncoder().encode('.'.repeat(64));
    await write(world, 20, 3000);
    await restart(world);

    await world.verify();

    for (const path of world.disk.paths()) {
      const bytes = present(world.disk.find(path), path).read(0, 1 << 24, 'cache');
      expect(Buffer.from(bytes).includes(Buffer.from(text)), path).toBe(false);
    }
    expect(keysOf(world)).toMatchObject({ isEncrypted: true, plainSegments: 0 });
    expect(world.reusedNonces).toEqual([]);
  });

  test('does not open without a key provider', async () => {
    const world = await begin(2);
    world.isEncrypted = false;

    expect(await codeOfOpen(world)).toBe('CLUSTOR_KEY_MISSING');
  });

  test('does not open with another KEK of the same name', async () => {
    const world = await begin(3);
    world.keyProvider = providerWith(7);

    expect(await codeOfOpen(world)).toBe('CLUSTOR_KEY_WRONG');
  });

  test('does not open with a provider that lacks its KEK', async () => {
    const world = await begin(4);
    world.keyProvider = providerWith(7, 'kek-2');

    expect(await codeOfOpen(world)).toBe('CLUSTOR_KEY_MISSING');
  });

  test('does not open with the ring of another node', async () => {
    const world = await begin(5);
    const other = new SimEncryption(() => undefined);
    world.keyProvider = other.of(nodeId(2), new SimEntropy(world.random)).keyProvider;

    expect(await codeOfOpen(world)).toBe('CLUSTOR_KEY_WRONG');
  });

  test('does not open with a ring that was changed', async () => {
    const world = await begin(6);
    const text = new TextDecoder().decode(bytesOf(world, ringPath));
    replaceBytes(
      world,
      ringPath,
      new TextEncoder().encode(text.replace(/"firstSegmentSeq":"\d+"/, '"firstSegmentSeq":"99"')),
    );

    expect(await codeOfOpen(world)).toBe('CLUSTOR_INTEGRITY');
  });

  test('does not open with the ring of before a rotation, nor without one (KeyEpochReplay)', async () => {
    const world = await begin(7);
    const old = bytesOf(world, ringPath);
    await rotate(world);
    await write(world);
    const newest = bytesOf(world, ringPath);

    replaceBytes(world, ringPath, old);
    expect(await codeOfOpen(world)).toBe('CLUSTOR_KEY_EPOCH_REPLAY');

    const ring = present(world.disk.find(ringPath), ringPath);
    world.disk.unlink(ringPath);
    world.disk.syncDirectory('/data/wal');
    expect(await codeOfOpen(world)).toBe('CLUSTOR_KEY_EPOCH_REPLAY');

    world.disk.link(ringPath, ring);
    replaceBytes(world, ringPath, newest);
    await world.open();
    await world.verify();
  });

  test('does not open when a segment of a destroyed epoch comes back (KeyEpochMismatch)', async () => {
    const world = await begin(8);
    const [seq = 0] = segmentsOf(world);
    const old = bytesOf(world, segmentPath(seq));
    await rotate(world);
    await rewritten(world);
    expect(keysOf(world).epochs.map((row) => row.state)).toEqual(['destroyed', 'active']);

    replaceBytes(world, segmentPath(seq), old);

    expect(await codeOfOpen(world)).toBe('CLUSTOR_KEY_EPOCH_MISMATCH');
  });

  test('does not take a segment of another directory, or another one of its own', async () => {
    const world = await begin(9);
    const foreign = await begin(10);
    await restart(world);
    await write(world);
    const [first = 0, second = 0] = segmentsOf(world);
    const own = bytesOf(world, segmentPath(second));
    world.crash('powerLoss');
    const before = world.disk;

    // The same cluster, node and number, and another data key.
    world.disk = before.fork();
    const [foreignFirst = 0] = segmentsOf(foreign);
    expect(foreignFirst).toBe(first);
    replaceBytes(world, segmentPath(first), bytesOf(foreign, segmentPath(first)));
    world.disk.unlink(segmentPath(first).replace('.log', '.idx'));
    await world.open();
    expect(world.store?.recovered[0]?.quarantine?.missing[0]?.firstIndex).toBe(1);
    world.crash('powerLoss');

    world.disk = before.fork();
    replaceBytes(world, segmentPath(first), own);
    world.disk.unlink(segmentPath(first).replace('.log', '.idx'));
    await world.open();
    expect(world.store?.recovered[0]?.quarantine?.missing[0]?.firstIndex).toBe(1);
  });

  test('does not take an unencrypted segment or ledger in the place of its own', async () => {
    const world = await begin(11);
    const plain = await begin(11, false);
    const [first = 0] = segmentsOf(world);
    world.crash('powerLoss');
    const before = world.disk;

    world.disk = before.fork();
    replaceBytes(world, segmentPath(first), bytesOf(plain, segmentPath(first)));
    await world.open();
    expect(world.store?.recovered[0]?.quarantine?.missing[0]?.firstIndex).toBe(1);
    world.crash('powerLoss');

    world.disk = before.fork();
    const ledger = '/data/wal/durability.log';
    replaceBytes(world, ledger, bytesOf(plain, ledger));
    await world.open();
    expect(world.store?.recovered[0]?.doubt).toContain('not authentic');
  });

  test('does not take a segment header whose text and CRC were changed together', async () => {
    const world = await begin(14);
    const [seq = 0] = segmentsOf(world);
    const bytes = bytesOf(world, segmentPath(seq));
    // The time at which it was made, which nothing but the HMAC protects.
    bytes[68] = (bytes[68] ?? 0) ^ 1;
    new DataView(bytes.buffer).setUint32(76, crc32c(bytes, 0, 76), true);
    world.crash('powerLoss');
    replaceBytes(world, segmentPath(seq), bytes);

    await world.open();

    expect(world.store?.recovered[0]?.quarantine?.missing[0]?.firstIndex).toBe(1);
  });

  test('notices any bit that flips in a header or a covered block', async () => {
    const world = await begin(12);
    const [seq = 0] = segmentsOf(world);
    world.crash('powerLoss');
    const before = world.disk;
    const header = Array.from({ length: 28 }, (_, at) => at * 4 + 1);
    const block = [0, 2, 5, 8, 9, 700, 1500].map((at) => blockOffset(0) + at);
    for (const position of [...header, ...block]) {
      world.disk = before.fork();
      world.disk.flipBit(segmentPath(seq), position, position % 8);
      let found: string | undefined;
      try {
        await world.open();
        found = world.store?.recovered
          .map((row) => row.doubt ?? (row.quarantine === undefined ? '' : 'quarantine'))
          .join('');
      } catch (error) {
        found = String(error);
      }
      world.crash('processKill');
      expect(found, `byte ${position}`).not.toBe('');
    }
  });

  test('keeps accounts of block numbers: closed cleanly nothing is abandoned, else the rest is', async () => {
    const world = await begin(13);
    const spent = world.store?.statistics().nonceBlocksSpent ?? 0;
    expect(spent).toBeGreaterThan(0);
    await world.settle(present(world.store, 'open').close());
    await restart(world);
    expect(world.store?.statistics()).toMatchObject({
      nonceBlocksSpent: spent,
      nonceBlocksAbandoned: 0,
    });

    await write(world);
    await restart(world);

    const { nonceBlocksReserved, nonceBlocksSpent, nonceBlocksAbandoned } = present(
      world.store,
      'open',
    ).statistics();
    expect(nonceBlocksSpent).toBeGreaterThan(spent);
    expect(nonceBlocksAbandoned).toBeGreaterThan(0);
    expect(nonceBlocksReserved).toBeGreaterThan(nonceBlocksSpent + nonceBlocksAbandoned);
  });
});

describe('a directory without encryption', () => {
  test('is encrypted from the start with a key provider on, old segments in the background', async () => {
    const world = await begin(20, false);
    await write(world, 10, 2000);
    world.isEncrypted = true;

    await restart(world);
    expect(keysOf(world)).toMatchObject({ isEncrypted: true, plainSegments: 1 });
    await write(world);
    await rewritten(world);

    expect(keysOf(world)).toMatchObject({ plainSegments: 0, segmentsToRewrite: 0 });
    await restart(world);
    await world.verify();
    world.isEncrypted = false;
    expect(await codeOfOpen(world)).toBe('CLUSTOR_KEY_MISSING');
  });
});

describe('a rotation', () => {
  test('seals what is new under new keys, then what is old, and destroys keys that nothing needs', async () => {
    const world = await begin(30);
    // More than a chunk, in units of one to four blocks: chunks end within some of them.
    for (let flush = 0; flush < 20; flush++) await write(world, 15, 6000);
    const [seq = 0] = segmentsOf(world);
    const sizeOf = (): number => bytesOf(world, segmentPath(seq)).length;

    await rotate(world);

    expect(keysOf(world).epochs.map((row) => row.state)).toEqual(['decryptOnly', 'active']);
    await write(world);
    await rewritten(world);
    expect(keysOf(world)).toMatchObject({ segmentsToRewrite: 0, lastFailure: '' });
    expect(keysOf(world).epochs.map((row) => row.state)).toEqual(['destroyed', 'active']);
    expect(sizeOf() % blockBytes).toBe(0);
    // Reads that began under the old file, and a start, find the same entries at the same places.
    expect(await world.readAll(firstOf(world), firstOf(world).durableIndex)).toHaveLength(
      firstOf(world).durableIndex,
    );
    await restart(world);
    await world.verify();
    expect(world.reusedNonces).toEqual([]);
  });

  test('does not happen without keys', async () => {
    const world = await begin(31, false);

    await expect(world.store?.keyDesk.rotate()).rejects.toMatchObject({
      code: 'CLUSTOR_NOT_ENCRYPTED',
    });
  });

  test('under a provider that fails changes nothing', async () => {
    const world = await begin(32);
    const usual = world.encryption.of(nodeId(1), new SimEntropy(world.random)).keyProvider;
    world.keyProvider = {
      name: 'a service that is away',
      unwrap: (wrapped, context) => usual.unwrap(wrapped, context),
      wrap: () =>
        Promise.reject(new ClustorError('CLUSTOR_KEY_PROVIDER_UNAVAILABLE', 'nobody answers')),
    };
    await restart(world);

    await expect(world.settle(present(world.store, 'open').keyDesk.rotate())).rejects.toMatchObject(
      { code: 'CLUSTOR_KEY_PROVIDER_UNAVAILABLE' },
    );

    expect(keysOf(world).epochs).toHaveLength(1);
    await write(world);
    await restart(world);
    await world.verify();
  });

  test('whose ring cannot be written changes nothing', async () => {
    const world = await begin(36);
    world.disk.isFull = true;

    const rotating = world.settle(present(world.store, 'open').keyDesk.rotate());
    await expect(rotating).rejects.toMatchObject({ code: 'CLUSTOR_DISK_HARD' });

    world.disk.isFull = false;
    expect(keysOf(world).epochs).toHaveLength(1);
    await write(world);
    await restart(world);
    await world.verify();
    await rotate(world);
    expect(keysOf(world).epochs.map((row) => row.state)).toEqual(['decryptOnly', 'active']);
  });

  test('takes no room from entries: segments wait to be sealed anew until there is some, and no half file is left', async () => {
    const world = await begin(37);
    await restart(world);
    const old = segmentsOf(world).length;
    await rotate(world);
    world.disk.isFull = true;

    await world.run(30_000);
    expect(keysOf(world).segmentsToRewrite).toBeGreaterThan(0);
    expect(keysOf(world).lastFailure).not.toBe('');
    expect(world.disk.list('/data/wal').filter((name) => name.endsWith('.rewrite'))).toEqual([]);

    world.disk.isFull = false;
    await rewritten(world);
    expect(keysOf(world).segmentsRewritten).toBeGreaterThan(0);
    expect(keysOf(world).lastFailure).toBe('');
    expect(segmentsOf(world).length).toBeGreaterThanOrEqual(old);
    await write(world);
    await restart(world);
    await world.verify();
  });

  test('leaves a damaged segment as it is, with its keys, and seals the others anew', async () => {
    const world = await begin(35);
    await restart(world);
    await write(world, 20, 3000);
    const [first = 0] = segmentsOf(world);
    world.disk.flipBit(segmentPath(first), blockOffset(0) + 30, 3);

    await rotate(world);
    await world.run(20_000);

    const status = keysOf(world);
    expect(status.lastFailure).toContain(`segment ${first}`);
    expect(status).toMatchObject({ segmentsToRewrite: 1, segmentsRewritten: 1 });
    expect(status.epochs.map((row) => row.state)).toEqual(['decryptOnly', 'active']);
  });

  test('that meets a full disk is repeated later', async () => {
    const world = await begin(33);
    await rotate(world);
    world.disk.isFull = true;
    await world.run(2_000);
    expect(keysOf(world).segmentsToRewrite).toBeGreaterThan(0);

    world.disk.isFull = false;
    await rewritten(world);
    expect(world.store?.statistics().nonceBlocksAbandoned).toBeGreaterThan(0);

    expect(keysOf(world)).toMatchObject({ segmentsToRewrite: 0, lastFailure: '' });
    await restart(world);
    await world.verify();
  });

  test.each(kinds)('leaves the old or the new, whole, wherever a %s falls', async (kind) => {
    const prepared = await begin(34);
    await write(prepared, 40, 3000);
    prepared.crash('powerLoss');
    const before = prepared.disk;
    const world = prepared;
    let isThrough = false;
    for (let operation = 0; !isThrough; operation++) {
      expect(operation, 'it comes to an end').toBeLessThan(200);
      world.disk = before.fork();
      await world.open();
      world.killAt({ kind: 'operation', operation: world.disk.operationCount + operation });
      // A chain at a time as well, so that writes of the new file are met too.
      if (operation % 2 === 1)
        world.killAt({
          kind: 'chain',
          chain: world.disk.chainCount + (operation >> 1),
          step: operation % 3,
        });
      await world.settle(present(world.store, 'open').keyDesk.rotate());
      await world.run(30_000, () => {
        isThrough = keysOf(world).epochs[0]?.state === 'destroyed';
        return isThrough;
      });
      world.crash(kind);
      // Points that were not reached are not for the next life.
      world.disk.heal();
      await world.open();
      await world.verify();
      await world.run(100);
    }
    // What was left over is begun again, and ends.
    await rewritten(world);
    expect(keysOf(world)).toMatchObject({ segmentsToRewrite: 0 });
    expect(segmentsOf(world).length).toBeGreaterThan(0);
    expect(world.disk.list('/data/wal').filter((name) => name.endsWith('.rewrite'))).toEqual([]);
    expect(world.reusedNonces).toEqual([]);
  });
});
