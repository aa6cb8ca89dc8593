/** Snapshots on a real disk, past its page cache (specification §7). */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, describe, expect, test } from 'vitest';

import { clusterId, logIndex, nodeId, partitionId, term } from '../../src/base/ids.ts';
import { createPrng } from '../../src/base/prng.ts';
import { openNodeFileSystem, type NodeFileSystem } from '../../src/platform/node-file-system.ts';
import { nodeCryptography } from '../../src/security/node-cryptography.ts';
import { JournalKeys } from '../../src/storage/journal-keys.ts';
import { SnapshotFolder } from '../../src/storage/snapshot-folder.ts';
import { SimEncryption } from '../../src/testing/sim-encryption.ts';
import { SimEntropy } from '../../src/testing/sim-entropy.ts';

const partition = partitionId('018c0d6c-9c11-7e9d-8000-00000000000a');
const owner = { clusterId: clusterId('018c0d6c-9c11-7e9d-8000-86f5bb8c0001'), nodeId: nodeId(1) };
const clock = {
  monotonicMs: () => 0,
  wallMs: () => 1_000.5,
  setTimer: () => () => undefined,
  endOfTurn: () => undefined,
};

let fileSystem: NodeFileSystem | undefined;
let directory = '';
afterEach(async () => {
  await fileSystem?.shutDown();
  rmSync(directory, { recursive: true, force: true });
});

async function opened(isEncrypted: boolean): Promise<SnapshotFolder> {
  directory = mkdtempSync(join(tmpdir(), 'clustor-snapshots-'));
  fileSystem = await openNodeFileSystem();
  const entropy = new SimEntropy(createPrng(3));
  const encryption = new SimEncryption((message) => expect.fail(message)).of(owner.nodeId, entropy);
  const folder = `${directory}/wal`;
  await fileSystem.makeDirectory(folder);
  const keys = await JournalKeys.open({
    fileSystem,
    folder,
    ...owner,
    encryption: isEncrypted ? encryption : undefined,
  });
  await keys.begin({ segmentSeq: 1, ledgerGeneration: 1, entropy, wallMs: 0 });
  const snapshots = new SnapshotFolder({
    fileSystem,
    directory,
    partitionId: partition,
    ...owner,
    keys,
    cryptography: nodeCryptography,
    entropy,
    clock,
  });
  await snapshots.open();
  return snapshots;
}

describe.each([false, true])('snapshots on a real disk (encrypted: %s)', (isEncrypted) => {
  test('are written, read, found again and removed', async () => {
    const folder = await opened(isEncrypted);
    const stream = new SimEntropy(createPrng(4)).bytes(2 * 1024 * 1024 + 4_097);
    const configuration = { term: term(0), index: logIndex(0), members: [], outgoingMembers: [] };
    const writer = await folder.begin({
      index: logIndex(9),
      term: term(2),
      knownTerm: term(2),
      configuration,
    });
    for (let at = 0; at < stream.length; at += 700_001)
      await writer.write(stream.subarray(at, at + 700_001));
    const manifest = await writer.finish({ stateBytes: 1_500_000 });

    expect(manifest.parts.map(({ bytes }) => bytes)).toEqual([1_048_576, 1_048_576, 4_097]);
    expect(await folder.verify(manifest)).toBeUndefined();
    const chunks = [await folder.stateBytes(manifest)];
    for await (const chunk of folder.machineBytes(manifest)) chunks.push(chunk);
    expect(Buffer.compare(Buffer.concat(chunks), stream)).toBe(0);
    await folder.open();
    expect(folder.published).toEqual([manifest]);

    await folder.remove(manifest);

    expect(readdirSync(`${directory}/partitions/${partition}/snapshot`)).toEqual([]);
  });
});
