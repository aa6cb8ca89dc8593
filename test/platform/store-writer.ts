/**
 * A process that appends to a store on a real disk while the mode of its writer goes round, and says which index is durable.
 * `tsx store-writer.ts DIRECTORY PARTITION` runs until it is killed; the replica is created by the first life.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { present } from '../../src/base/assert.ts';
import {
  clusterId,
  incarnation,
  logIndex,
  nodeId,
  partitionId,
  replicaId,
  term,
} from '../../src/base/ids.ts';
import { EntryFrameWriter } from '../../src/codec/entry-frame.ts';
import { nodeClock } from '../../src/platform/node-clock.ts';
import { nodeEntropy } from '../../src/platform/node-entropy.ts';
import { openNodeFileSystem } from '../../src/platform/node-file-system.ts';
import type { IoWriterMode } from '../../src/ports/file-system.ts';
import { silentObserver } from '../../src/ports/observer.ts';
import { LogStore } from '../../src/storage/log-store.ts';

const [directory = '', partition = ''] = process.argv.slice(2);
const id = partitionId(partition);
const fileSystem = await openNodeFileSystem();
let durable = 0;
let appended = 0;
let round = 0;
const modes: readonly IoWriterMode[] = ['Pooled', 'Direct', 'Blocking'];

const store = await LogStore.open({
  directory,
  clusterId: clusterId('018c0d6c-9c11-7e9d-8000-86f5bb8c0001'),
  nodeId: nodeId(1),
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
    appendDurable: (_log, { lastIndex }) => {
      durable = lastIndex;
      process.stdout.write(`${fileSystem.ioWriterMode} ${durable}\n`);
    },
    flushEnded: () => undefined,
    damaged: () => undefined,
    damageFound: () => undefined,
    failed: (error) => {
      throw error;
    },
  },
});
if (store.partition(id) === undefined) {
  const own = incarnation(partition);
  const member = {
    replicaId: replicaId(1),
    nodeId: nodeId(1),
    incarnation: own,
    role: 'voter' as const,
    addresses: ['127.0.0.1:1'],
  };
  await store.createReplica({
    partitionId: id,
    replicaId: replicaId(1),
    incarnation: own,
    configuration: { term: term(0), index: logIndex(0), members: [member], outgoingMembers: [] },
  });
}
const log = present(store.partition(id), 'a hosted partition');
appended = store.recovered[0]?.lastIndex ?? 0;
durable = appended;
process.stdout.write(`recovered ${appended}\n`);
log.persistHardState({ term: term(1), votedFor: undefined });

function append(index: number): void {
  const writer = new EntryFrameWriter(id);
  const payload = new TextEncoder().encode(`entry ${index} `.padEnd(3_000, '.'));
  const bytes = new Uint8Array(payload.length + writer.overheadBytes);
  const entry = {
    term: term(1),
    index: logIndex(index),
    isSystem: false,
    metadata: new Uint8Array(0),
    payload,
  };
  writer.write(bytes, new DataView(bytes.buffer), 0, entry);
  const place = { firstIndex: entry.index, lastIndex: entry.index, lastTerm: entry.term };
  log.append({ ...place, bytes }, index);
}

function goOn(): void {
  if (appended - durable < 8) {
    append(++appended);
    store.flush();
  }
  setImmediate(goOn);
}

async function goRound(): Promise<void> {
  for (;;) {
    await fileSystem.switchIoWriterMode(present(modes[round++ % modes.length], 'a mode'));
    await pause(3);
  }
}

goOn();
await goRound();
