/** Starts the three processes of the bare pipeline (`node.ts`) and makes them a target of the load generators. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { nextMessage, startScript, stopChild } from '../setup/children.ts';
import { makeCertificates } from '../setup/certificates.ts';
import type { FlushCounters, RunningTarget } from '../load/generator.ts';
import { FrameReader, FrameWriter, frameKind } from './frames.ts';
import type { BareNodeSettings } from './node.ts';

/** What a bare pipeline is started with. */
export interface BarePipelineOptions {
  readonly directory: string;
  readonly valueBytes: number;
  /** CRC per entry, a map as state machine and a session table. */
  readonly hasFeatures?: boolean;
  /** Blocks are sealed with AES-256-GCM. */
  readonly isSealed?: boolean;
  /** Direct writes by a thread, as the product does it, or `fdatasync` in libuv's pool. @defaultValue thread */
  readonly syncs?: 'thread' | 'pool';
}

/** What results of a pipeline are called. */
export function nameOfBarePipeline(options: Partial<BarePipelineOptions>): string {
  const { hasFeatures = false, isSealed = false, syncs = 'thread' } = options;
  return [
    'bare pipeline',
    ...(isSealed ? ['sealed'] : []),
    ...(syncs === 'pool' ? ['by the pool'] : []),
    ...(hasFeatures ? ['with CRC and map'] : []),
  ].join(' ');
}

type Answered = (slot: number, isOk: boolean) => void;

/** Starts the pipeline and connects to its leader. */
export async function startBarePipeline(options: BarePipelineOptions): Promise<RunningTarget> {
  const {
    directory,
    valueBytes,
    hasFeatures = false,
    isSealed = false,
    syncs = 'thread',
  } = options;
  mkdirSync(directory, { recursive: true });
  const certificateDirectory = join(directory, 'certificates');
  const { client } = makeCertificates(certificateDirectory);
  const start = (name: string, followerPorts: readonly number[]) => {
    const settings: BareNodeSettings = {
      directory: join(directory, name),
      certificateDirectory,
      hasFeatures,
      isSealed,
      syncs,
      followerPorts,
    };
    const words = [JSON.stringify(settings)];
    return startScript(
      new URL('./node.ts', import.meta.url),
      words,
      join(directory, `${name}.log`),
    );
  };
  const followers = [start('follower1', []), start('follower2', [])];
  const followerPorts = (await Promise.all(followers.map(nextMessage))).map(portOf);
  const leader = start('leader', followerPorts);
  const port = portOf(await nextMessage(leader));
  const children = [leader, ...followers];

  const answers: (Answered | undefined)[] = [];
  const reader = new FrameReader((kind, bytes, start) => {
    if (kind !== frameKind.answer) return;
    const slot = bytes.readUInt32LE(start);
    answers[slot]?.(slot, true);
  });
  const socket = connectTls({
    ...client,
    host: '127.0.0.1',
    port,
    servername: 'localhost',
    minVersion: 'TLSv1.3',
  });
  await new Promise<void>((resolve, reject) => {
    socket.once('secureConnect', resolve);
    socket.once('error', reject);
  });
  socket.setNoDelay(true);
  socket.on('data', (chunk: Buffer) => {
    reader.push(chunk);
  });
  const writer = new FrameWriter(socket);
  const value = Buffer.alloc(valueBytes, 'abcdefghijklmnopqrstuvwxyz0123456789');
  return {
    name: nameOfBarePipeline(options),
    serverPids: children.map((child) => child.pid ?? 0),
    send(slot, answered) {
      answers[slot] = answered;
      const at = writer.begin(frameKind.put, 4 + valueBytes);
      writer.slab.writeUInt32LE(slot, at);
      value.copy(writer.slab, at + 4);
    },
    async flushes() {
      const counters = nextMessage(leader);
      leader.send({ kind: 'counters' });
      return (await counters) as FlushCounters;
    },
    async stop() {
      socket.destroy();
      await Promise.all(children.map(stopChild));
    },
  };
}

function portOf(message: unknown): number {
  return (message as { readonly port: number }).port;
}
