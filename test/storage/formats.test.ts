/** Data directories written by earlier versions of this code are read for ever; fixtures are only ever added. */
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { describe, expect, onTestFinished, test } from 'vitest';

import { logIndex, partitionId } from '../../src/base/ids.ts';
import { nodeClock } from '../../src/platform/node-clock.ts';
import { nodeCryptography } from '../../src/security/node-cryptography.ts';
import { nodeEntropy } from '../../src/platform/node-entropy.ts';
import { openNodeFileSystem, type NodeFileSystem } from '../../src/platform/node-file-system.ts';
import { silentObserver } from '../../src/ports/observer.ts';
import { dumpEntries } from '../../src/storage/dump-entries.ts';
import { LogStore } from '../../src/storage/log-store.ts';
import { readRegistry } from '../../src/storage/node-registry.ts';
import { verifyDirectory } from '../../src/storage/verify-directory.ts';
import { entriesOf } from './store-world.ts';

const root = join(import.meta.dirname, '..', 'fixtures', 'formats');
const fixtures = readdirSync(root).flatMap((version) =>
  readdirSync(join(root, version)).map((kind) => join(version, kind)),
);

interface Expected {
  readonly term: number;
  readonly payload: string;
}

/** A copy of the directory that may be written to, and what is in it. */
async function scratchCopy(fixture: string): Promise<{
  readonly directory: string;
  readonly fileSystem: NodeFileSystem;
  readonly expected: ReadonlyMap<string, readonly Expected[]>;
}> {
  const directory = mkdtempSync(join(tmpdir(), 'clustor-format-'));
  const fileSystem = await openNodeFileSystem({});
  onTestFinished(async () => {
    await fileSystem.shutDown();
    rmSync(directory, { recursive: true });
  });
  cpSync(join(root, fixture, 'data'), directory, { recursive: true });
  const text = readFileSync(join(root, fixture, 'expected.json'), 'utf8');
  const expected = new Map(Object.entries(JSON.parse(text) as Record<string, readonly Expected[]>));
  expect(expected.size).toBeGreaterThan(0);
  return { directory, fileSystem, expected };
}

describe.each(fixtures)('the data directory %s', (fixture) => {
  test('is whole, and offline tools read every entry of it', async () => {
    const { directory, fileSystem, expected } = await scratchCopy(fixture);

    const { isDamaged, findings } = await verifyDirectory(
      { fileSystem, directory },
      nodeCryptography,
    );
    expect({ isDamaged, findings }).toEqual({ isDamaged: false, findings: [] });
    for (const [id, entries] of expected) {
      const found: Expected[] = [];
      await dumpEntries(
        { fileSystem, directory },
        {
          partitionId: partitionId(id),
          firstIndex: logIndex(1),
          lastIndex: logIndex(Number.MAX_SAFE_INTEGER),
          onEntry: ({ term, payload }) => {
            found.push({ term, payload: new TextDecoder().decode(payload) });
          },
        },
      );
      expect(found).toEqual(entries);
    }
  });

  test('is opened, with every entry in its log', async () => {
    const { directory, fileSystem, expected } = await scratchCopy(fixture);
    const registry = await readRegistry(fileSystem, directory);
    if (registry === undefined) throw new Error('the fixture has no registry');

    const store = await LogStore.open({
      directory,
      clusterId: registry.clusterId,
      nodeId: registry.nodeId,
      fileSystem,
      clock: nodeClock,
      entropy: nodeEntropy,
      observer: silentObserver,
      limits: {
        segmentBytes: 8 * 1024 * 1024,
        logBytesMax: 64 * 1024 * 1024,
        ledgerBytes: 256 * 1024,
      },
      listener: {
        hardStateDurable: () => undefined,
        appendDurable: () => undefined,
        flushEnded: () => undefined,
        damaged: () => undefined,
        damageFound: () => undefined,
        failed: (error) => {
          throw error;
        },
      },
    });

    expect(store.bootReport).toMatchObject({ scrubState: 'Healthy', ledgerTornFlushCut: false });
    for (const [id, entries] of expected) {
      const log = store.partition(partitionId(id));
      const found: Expected[] = [];
      while (found.length < entries.length) {
        const first = logIndex(found.length + 1);
        const batch = await log?.read(first, logIndex(entries.length), 2 ** 20);
        if (batch === undefined) throw new Error(`no log of ${id}`);
        for (const { term, payload } of entriesOf(batch.bytes)) found.push({ term, payload });
      }
      expect(found).toEqual(entries);
      expect(store.recovered.find((row) => row.partitionId === id)?.lastIndex).toBe(entries.length);
    }
    await store.close();
  });
});
