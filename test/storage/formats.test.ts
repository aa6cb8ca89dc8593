/** Data directories written by earlier versions of this code are read for ever; fixtures are only ever added. */
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { describe, expect, onTestFinished, test } from 'vitest';

import { logIndex, partitionId } from '../../src/base/ids.ts';
import { runLedgerShow, runWalVerify } from '../../src/cli/journal-commands.ts';
import type { Output } from '../../src/cli/output.ts';
import { openKeyFile } from '../../src/platform/key-files.ts';
import { nodeClock } from '../../src/platform/node-clock.ts';
import { loadBlake3 } from '../../src/security/blake3.ts';
import { nodeCryptography } from '../../src/security/node-cryptography.ts';
import { nodeEntropy } from '../../src/platform/node-entropy.ts';
import { openNodeFileSystem, type NodeFileSystem } from '../../src/platform/node-file-system.ts';
import { silentObserver } from '../../src/ports/observer.ts';
import { dumpEntries } from '../../src/storage/dump-entries.ts';
import type { JournalEncryption } from '../../src/storage/key-ring.ts';
import { LogStore } from '../../src/storage/log-store.ts';
import { readRegistry } from '../../src/storage/node-registry.ts';
import { verifyDirectory, type VerifyFinding } from '../../src/storage/verify-directory.ts';
import { entriesOf } from './model-frames.ts';

await loadBlake3();

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
  /** File with the KEK of an encrypted one. */
  readonly kekFile: string | undefined;
  readonly encryption: JournalEncryption | undefined;
  readonly expected: ReadonlyMap<string, readonly Expected[]>;
}> {
  const scratch = mkdtempSync(join(tmpdir(), 'clustor-format-'));
  const directory = join(scratch, 'data');
  const fileSystem = await openNodeFileSystem({});
  onTestFinished(async () => {
    await fileSystem.shutDown();
    rmSync(scratch, { recursive: true });
  });
  cpSync(join(root, fixture, 'data'), directory, { recursive: true });
  const text = readFileSync(join(root, fixture, 'expected.json'), 'utf8');
  const expected = new Map(Object.entries(JSON.parse(text) as Record<string, readonly Expected[]>));
  expect(expected.size).toBeGreaterThan(0);
  const kekFile = keyOf(fixture, scratch);
  const encryption =
    kekFile === undefined
      ? undefined
      : { keyProvider: await openKeyFile(kekFile), cryptography: nodeCryptography };
  return { directory, fileSystem, kekFile, encryption, expected };
}

/** A copy of the key file of an encrypted fixture, readable by its owner alone: a checkout does not keep modes. */
function keyOf(fixture: string, scratch: string): string | undefined {
  const kept = join(root, fixture, 'kek.json');
  if (!existsSync(kept)) return undefined;
  const kekFile = join(scratch, 'kek.json');
  cpSync(kept, kekFile);
  chmodSync(kekFile, 0o600);
  return kekFile;
}

/** Whether a finding is any other than that the segment in use was closed, which has no index before the next start. */
function isNews({ severity, what }: VerifyFinding): boolean {
  return severity !== 'note' || what !== 'it has no index; the next start writes one';
}

/** What a command gives, and how it ends. */
async function given(
  run: (output: Output) => Promise<number>,
): Promise<{ readonly exitCode: number; readonly value: Readonly<Record<string, unknown>> }> {
  let value: object = {};
  const failed = (what: unknown): never => {
    throw what instanceof Error ? what : new Error(String(what));
  };
  const exitCode = await run({
    isJson: true,
    result: (result) => {
      value = result;
    },
    note: failed,
    progress: failed,
    error: failed,
  });
  return { exitCode, value: { ...value } };
}

describe.each(fixtures)('the data directory %s', (fixture) => {
  test('is whole, and offline tools read every entry of it', async () => {
    const { expected, ...place } = await scratchCopy(fixture);

    const { isDamaged, findings } = await verifyDirectory(place, nodeCryptography);
    expect(isDamaged).toBe(false);
    expect(findings.filter(isNews)).toEqual([]);
    for (const [id, entries] of expected) {
      const found: Expected[] = [];
      await dumpEntries(place, {
        partitionId: partitionId(id),
        firstIndex: logIndex(1),
        lastIndex: logIndex(Number.MAX_SAFE_INTEGER),
        onEntry: ({ index, term, payload, leaf, leafHash }) => {
          found.push({ term, payload: new TextDecoder().decode(payload) });
          // Every other entry was given a leaf.
          expect(leaf === undefined).toBe(index % 2 === 1);
          if (leaf !== undefined) expect(leafHash === 'blake3').toBe(fixture.includes('blake3'));
        },
      });
      expect(found).toEqual(entries);
    }
  });

  test('is opened, with every entry in its log', async () => {
    const { directory, fileSystem, encryption, expected } = await scratchCopy(fixture);
    const registry = await readRegistry(fileSystem, directory);
    if (registry === undefined) throw new Error('the fixture has no registry');

    const store = await LogStore.open({
      directory,
      clusterId: registry.clusterId,
      nodeId: registry.nodeId,
      fileSystem,
      clock: nodeClock,
      entropy: nodeEntropy,
      encryption,
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

  test('is whole for `wal verify`, and `ledger show` shows its records', async () => {
    const { directory, kekFile, expected } = await scratchCopy(fixture);
    const options = kekFile === undefined ? {} : { kekFile };

    const verified = await given((output) => runWalVerify(directory, options, output));
    const shown = await given((output) => runLedgerShow(directory, options, output));

    expect(verified).toMatchObject({ exitCode: 0, value: { isDamaged: false } });
    expect((verified.value['findings'] as VerifyFinding[]).filter(isNews)).toEqual([]);
    const entries = [...expected].map(([id, { length }]) => ({ partitionId: id, entries: length }));
    expect(verified.value['partitions']).toMatchObject(entries);
    expect(shown.exitCode).toBe(0);
    const [{ headerCopies, flushes }] = shown.value['generations'] as [
      { headerCopies: number; flushes: { flush: { records: { kind: string }[] } }[] },
    ];
    expect(headerCopies).toBe(2);
    const kinds = flushes.flatMap(({ flush }) => flush.records.map(({ kind }) => kind));
    expect(kinds).toEqual(expect.arrayContaining(['hardState', 'durability', 'segmentClosed']));
  });
});

test.each(['v1', 'v2'])(
  'the fixtures of %s are the same story, without encryption and with it: nothing of the latter can be read without its key',
  async (version) => {
    const plain = await scratchCopy(join(version, 'plain'));
    const { directory, expected } = await scratchCopy(join(version, 'encrypted'));

    for (const [id, entries] of plain.expected)
      expect(expected.get(id)?.slice(0, entries.length)).toEqual(entries);
    const wal = join(directory, 'wal');
    const segments = readdirSync(wal).filter(
      (name) => name.endsWith('.log') && name !== 'durability.log',
    );
    expect(segments.length).toBeGreaterThan(2);
    for (const name of segments)
      expect(readFileSync(join(wal, name)).includes('entry 0 of term')).toBe(false);
    await expect(given((output) => runWalVerify(directory, {}, output))).rejects.toMatchObject({
      code: 'CLUSTOR_KEY_MISSING',
    });
  },
);
