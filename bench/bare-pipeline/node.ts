/**
 * One process of the bare pipeline: what replication costs at the least on this platform. A fixed leader, two
 * followers, mutual TLS 1.3 on every link, group commit with journal and ledger sync, and an answer when two
 * of three are durable. No elections, no log matching, no recovery: not Raft, and not safe. It exists to divide by.
 *
 * With `hasFeatures` every process also does what no honest product can leave out per entry: a CRC made at
 * the leader and checked at the followers, a copy into a map as state machine, a session table.
 *
 * Started by `target.ts` with its settings as one JSON argument; sends its port, for a leader after it has
 * reached its followers, and ends when the parent does.
 */
import { connect as connectTls, createServer, type TLSSocket } from 'node:tls';
import type { AddressInfo } from 'node:net';
import { crc32c } from '../../src/base/crc32c.ts';
import { readCertificates, type Identity } from '../setup/certificates.ts';
import { BareJournal, batchBytesMax } from './journal.ts';
import {
  entryHeaderBytes,
  FrameReader,
  FrameWriter,
  frameKind,
  type FrameHandler,
} from './frames.ts';

/** What a process is told. */
export interface BareNodeSettings {
  readonly directory: string;
  readonly certificateDirectory: string;
  readonly hasFeatures: boolean;
  readonly isSealed: boolean;
  readonly syncs: 'thread' | 'pool';
  /** Ports of the followers; empty for a follower. */
  readonly followerPorts: readonly number[];
}

const sessionCount = 1000;
const keyCount = 10_000;
const waitingMax = 1 << 16;

const settings = JSON.parse(process.argv[2] ?? '{}') as BareNodeSettings;
const { server, client } = readCertificates(settings.certificateDirectory);
const state = new Map<string, Buffer>();
const sessions = new Map<number, number>();

process.once('disconnect', () => {
  process.exit(0);
});
await (settings.followerPorts.length === 0 ? runFollower() : runLeader());

async function runFollower(): Promise<void> {
  const writers: FrameWriter[] = [];
  const journal = await BareJournal.open(settings, (index) => {
    for (const writer of writers) {
      const at = writer.begin(frameKind.durable, 8);
      writer.slab.writeDoubleLE(index, at);
    }
  });
  await listen(
    (socket) => {
      writers.push(new FrameWriter(socket));
      return (kind, bytes, start, end) => {
        if (kind !== frameKind.append) throw new RangeError('a follower only takes appends');
        journal.append(bytes, start + 8, end, bytes.readDoubleLE(start));
        if (settings.hasFeatures) applyAll(bytes, start + 8, end);
      };
    },
    () => {
      journal.kick();
    },
  );
}

function applyAll(bytes: Buffer, start: number, end: number): void {
  for (let at = start; at < end;) {
    const valueStart = at + entryHeaderBytes;
    const valueEnd = valueStart + bytes.readUInt32LE(at);
    if (crc32c(bytes, valueStart, valueEnd) !== bytes.readUInt32LE(at + 4)) {
      throw new RangeError('an entry arrived damaged');
    }
    apply(bytes, valueStart, valueEnd, bytes.readDoubleLE(at + 8));
    at = valueEnd;
  }
}

function apply(bytes: Buffer, start: number, end: number, index: number): void {
  const key = bytes.toString('latin1', start, start + 16) + String(index % keyCount);
  state.set(key, Buffer.from(bytes.subarray(start, end)));
  sessions.set(index % sessionCount, index);
}

async function runLeader(): Promise<void> {
  const durable = [0, 0, 0];
  const waitingIds = new Uint32Array(waitingMax);
  const waitingWriters: (FrameWriter | undefined)[] = Array.from({ length: waitingMax });
  let committedIndex = 0;
  let lastIndex = 0;
  const batch = Buffer.allocUnsafe(batchBytesMax);
  let batchBytes = 0;
  let isScheduled = false;

  const advance = (position: number, index: number): void => {
    durable[position] = index;
    const [first = 0, second = 0, third = 0] = durable;
    const majority = Math.max(Math.min(first, second), Math.min(Math.max(first, second), third));
    while (committedIndex < majority) {
      committedIndex++;
      const place = committedIndex % waitingMax;
      const writer = waitingWriters[place];
      if (writer === undefined) continue;
      const at = writer.begin(frameKind.answer, 4);
      writer.slab.writeUInt32LE(waitingIds[place] ?? 0, at);
    }
  };
  const journal = await BareJournal.open(settings, (index) => {
    advance(0, index);
  });
  const followers = await Promise.all(
    settings.followerPorts.map((port, position) =>
      dial(port, client, (kind, bytes, start) => {
        if (kind === frameKind.durable) advance(position + 1, bytes.readDoubleLE(start));
      }),
    ),
  );
  const sendBatch = (): void => {
    isScheduled = false;
    for (const follower of followers) {
      const at = follower.begin(frameKind.append, 8 + batchBytes);
      follower.slab.writeDoubleLE(lastIndex, at);
      batch.copy(follower.slab, at + 8, 0, batchBytes);
      follower.flush();
    }
    journal.append(batch, 0, batchBytes, lastIndex);
    batchBytes = 0;
    journal.kick();
  };
  const propose = (writer: FrameWriter, bytes: Buffer, start: number, end: number): void => {
    const valueBytes = end - start - 4;
    if (batchBytes + entryHeaderBytes + valueBytes > batch.length)
      throw new RangeError('batch full');
    lastIndex++;
    const at = batchBytes;
    batchBytes += entryHeaderBytes + valueBytes;
    bytes.copy(batch, at + entryHeaderBytes, start + 4, end);
    batch.writeUInt32LE(valueBytes, at);
    batch.writeDoubleLE(lastIndex, at + 8);
    const crc = settings.hasFeatures ? crc32c(batch, at + entryHeaderBytes, batchBytes) : 0;
    batch.writeUInt32LE(crc, at + 4);
    if (settings.hasFeatures) apply(batch, at + entryHeaderBytes, batchBytes, lastIndex);
    waitingIds[lastIndex % waitingMax] = bytes.readUInt32LE(start);
    waitingWriters[lastIndex % waitingMax] = writer;
    if (isScheduled) return;
    isScheduled = true;
    setImmediate(sendBatch);
  };
  await listen((socket) => {
    const writer = new FrameWriter(socket);
    return (kind, bytes, start, end) => {
      if (kind === frameKind.put) propose(writer, bytes, start, end);
    };
  });
  process.on('message', () => {
    process.send?.({ flushCount: journal.flushCount, entryCount: journal.entryCount });
  });
}

async function listen(
  accept: (socket: TLSSocket) => FrameHandler,
  afterChunk?: () => void,
): Promise<void> {
  const listener = createServer(
    { ...server, requestCert: true, rejectUnauthorized: true, minVersion: 'TLSv1.3' },
    (socket) => {
      socket.setNoDelay(true);
      socket.on('error', ignoreClosing);
      const reader = new FrameReader(accept(socket));
      socket.on('data', (chunk: Buffer) => {
        reader.push(chunk);
        afterChunk?.();
      });
    },
  );
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  process.send?.({ port: (listener.address() as AddressInfo).port });
}

function dial(port: number, identity: Identity, handler: FrameHandler): Promise<FrameWriter> {
  return new Promise((resolve, reject) => {
    const socket = connectTls({
      ...identity,
      host: '127.0.0.1',
      port,
      servername: 'localhost',
      minVersion: 'TLSv1.3',
    });
    socket.setNoDelay(true);
    const reader = new FrameReader(handler);
    socket.on('data', (chunk: Buffer) => {
      reader.push(chunk);
    });
    socket.once('error', reject);
    socket.once('secureConnect', () => {
      socket.on('error', ignoreClosing);
      resolve(new FrameWriter(socket));
    });
  });
}

/** A peer that ends takes its connection along; the parent reports why it ended. */
function ignoreClosing(): void {
  return undefined;
}
