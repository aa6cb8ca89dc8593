/**
 * Writes a small data directory of the present file formats, to be kept and read for ever:
 *
 *   npx tsx scripts/format-fixture.ts test/fixtures/formats/v2/plain
 *   npx tsx scripts/format-fixture.ts test/fixtures/formats/v2/encrypted --encrypted
 *   npx tsx scripts/format-fixture.ts test/fixtures/formats/v2/blake3 --blake3
 *
 * The folder is named after the newest version of the format of segments: one whose units have several blocks has entries of up to
 * 21 KiB. A fixture that is there is never written again: the folder must not exist. Zeros at the ends of files are left out. An
 * encrypted one has its KEK beside it, in `kek.json`, and units under two key epochs. Merkle leaves are by SHA-256 unless
 * BLAKE3 is asked for.
 */
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

import {
  clusterId,
  incarnation,
  logIndex,
  nodeId,
  partitionId,
  replicaId,
  term,
  type PartitionId,
} from '../src/base/ids.ts';
import { EntryFrameWriter } from '../src/codec/entry-frame.ts';
import { createKeyFile, openKeyFile } from '../src/platform/key-files.ts';
import { nodeClock } from '../src/platform/node-clock.ts';
import { loadBlake3 } from '../src/security/blake3.ts';
import { nodeCryptography } from '../src/security/node-cryptography.ts';
import { nodeEntropy } from '../src/platform/node-entropy.ts';
import { openNodeFileSystem } from '../src/platform/node-file-system.ts';
import { silentObserver } from '../src/ports/observer.ts';
import { LogStore } from '../src/storage/log-store.ts';

const [target, kind] = process.argv.slice(2);
if (target === undefined || existsSync(target))
  throw new Error('name a folder that does not exist: a fixture is only ever added');

const cluster = clusterId('018c0d6c-9c11-7e9d-8000-86f5bb8c0001');
const partitions = [1, 2].map((number) =>
  partitionId(`018c0d6c-9c11-7e9d-8000-00000000000${number}`),
);
const directory = mkdtempSync(join(tmpdir(), 'clustor-fixture-'));
const kekFile = join(directory, 'kek.json');
if (kind === '--encrypted') await createKeyFile(kekFile);
const encryption =
  kind === '--encrypted'
    ? { keyProvider: await openKeyFile(kekFile), cryptography: nodeCryptography }
    : undefined;
const leafHash = kind === '--blake3' ? 'blake3' : 'sha256';
await loadBlake3();
const fileSystem = await openNodeFileSystem({});
/** What a reader must find, by partition: term and payload of each entry. */
const expected = new Map<PartitionId, { term: number; payload: string }[]>();
let durable: (() => void) | undefined;

async function opened(): Promise<LogStore> {
  return LogStore.open({
    directory,
    clusterId: cluster,
    nodeId: nodeId(1),
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
      flushEnded: () => durable?.(),
      damaged: () => undefined,
      damageFound: () => undefined,
      failed: (error) => {
        throw error;
      },
    },
  });
}

/** Appends one entry, with a Merkle leaf where the index is even, and waits until it is durable. */
async function append(
  store: LogStore,
  partition: PartitionId,
  inTerm: number,
  payload: string,
): Promise<void> {
  const entries = expected.get(partition) ?? [];
  const index = entries.length + 1;
  const writer =
    index % 2 === 0
      ? new EntryFrameWriter(partition, { name: leafHash, hashes: nodeCryptography })
      : new EntryFrameWriter(partition);
  const bytes = new Uint8Array(writer.overheadBytes + payload.length);
  const entry = {
    term: term(inTerm),
    index: logIndex(index),
    isSystem: false,
    metadata: new Uint8Array(0),
    payload: Buffer.from(payload),
  };
  writer.write(bytes, new DataView(bytes.buffer), 0, entry);
  const batch = { firstIndex: entry.index, lastIndex: entry.index, lastTerm: entry.term, bytes };
  const done = new Promise<void>((resolve) => (durable = resolve));
  store.partition(partition)?.append(batch, index);
  store.flush();
  await done;
  expected.set(partition, [...entries, { term: inTerm, payload }]);
}

async function vote(store: LogStore, partition: PartitionId, inTerm: number): Promise<void> {
  const done = new Promise<void>((resolve) => (durable = resolve));
  const votedFor = { replicaId: replicaId(1), incarnation: incarnation(partition) };
  store.partition(partition)?.persistHardState({ term: term(inTerm), votedFor });
  store.flush();
  await done;
}

function recorded(store: LogStore, persist: (done: () => void) => void): Promise<void> {
  return new Promise((resolve) => {
    persist(resolve);
    store.flush();
  });
}

let store = await opened();
for (const partition of partitions) {
  const life = { replicaId: replicaId(1), incarnation: incarnation(partition) };
  const member = {
    ...life,
    nodeId: nodeId(1),
    role: 'voter' as const,
    addresses: ['127.0.0.1:7401'],
  };
  const configuration = {
    term: term(0),
    index: logIndex(0),
    members: [member],
    outgoingMembers: [],
  };
  await store.createReplica({ partitionId: partition, ...life, configuration });
}
await store.close();
store = await opened();
for (const partition of partitions) {
  await vote(store, partition, 1);
  for (let count = 0; count < 5; count++)
    await append(store, partition, 1, `entry ${count} of term 1 `.repeat(1 + count * 300));
}
// The first partition replaces its last two entries in a later term.
const [replaced] = partitions;
if (replaced !== undefined) {
  await vote(store, replaced, 2);
  store.partition(replaced)?.truncateFrom(logIndex(4));
  expected.set(replaced, (expected.get(replaced) ?? []).slice(0, 3));
  for (let count = 0; count < 3; count++)
    await append(store, replaced, 2, `entry ${count} of term 2`);
}
await store.close();
// A start closes the segment; its trailer is made soon afterwards.
store = await opened();
await new Promise<void>((resolve) => (durable = resolve));
for (const partition of partitions) {
  await vote(store, partition, 2);
  await append(store, partition, 2, 'the last entry');
}
// Quarantines that are over, of either kind, with what is remembered of them.
for (const partition of partitions) {
  const log = store.partition(partition);
  const begun = { sinceMs: 1_700_000_000_000, isActive: false } as const;
  await recorded(store, (done) =>
    log?.persistHold(
      {
        ...begun,
        reason: 'Administrative',
        index: logIndex(0),
        detail: 'a trial',
        ticket: 'OPS-1',
      },
      done,
    ),
  );
  const ranges = [{ firstIndex: logIndex(2), lastIndex: logIndex(3) }];
  await recorded(store, (done) =>
    log?.persistQuarantine({ ...begun, begunMs: [begun.sinceMs], ranges }, done),
  );
}
if (encryption !== undefined) {
  await store.keyDesk.rotate();
  for (const partition of partitions) await append(store, partition, 2, 'under the second key');
}
await store.close();
await fileSystem.shutDown();

for (const name of readdirSync(directory, { recursive: true, encoding: 'utf8' })) {
  const path = join(directory, name);
  if (
    !statSync(path).isFile() ||
    name.startsWith('lock') ||
    name === 'kek.json' ||
    name.startsWith(join('wal', 'reserve-')) ||
    name.endsWith('.next') ||
    name.endsWith('.spare')
  )
    continue;
  const bytes = readFileSync(path);
  let end = bytes.length;
  if (name.endsWith('.log')) {
    while (end > 0 && bytes[end - 1] === 0) end--;
    end = Math.ceil(end / 4096) * 4096;
  }
  mkdirSync(dirname(join(target, 'data', name)), { recursive: true });
  writeFileSync(join(target, 'data', name), bytes.subarray(0, end));
}
writeFileSync(
  join(target, 'expected.json'),
  `${JSON.stringify(Object.fromEntries(expected), undefined, 1)}\n`,
);
if (encryption !== undefined) copyFileSync(kekFile, join(target, 'kek.json'));
rmSync(directory, { recursive: true });
