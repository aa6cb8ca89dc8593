/**
 * A real three-process cluster of this package as a target of the load generators, as a user starts it: the
 * command line's `up` with the built-in state machine, node processes of its own, TLS on every link, a data
 * folder on disk; driven through the package's client with the development certificate that `up` made.
 *
 * This file alone knows how the product is started and spoken to.
 */
import type { ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

import { connect, type ConnectedClient, type NodeReport } from '../src/client/index.ts';
import type { FlushCounters, RunningTarget } from './load/generator.ts';
import { startProgram, stopChild } from './setup/children.ts';
import { repositoryDirectory } from './setup/scratch.ts';

/** What a cluster is started with. */
export interface ClustorOptions {
  readonly directory: string;
  readonly valueBytes: number;
  /** @defaultValue 1 */
  readonly partitions?: number;
  /** @defaultValue encrypted */
  readonly isUnencrypted?: boolean;
}

/** The one line that `up --json` prints when every node serves. */
interface ReadyEvent {
  readonly event: 'ready';
  readonly clusterId: string;
  readonly nodes: readonly {
    readonly nodeId: string;
    readonly pid: number;
    readonly address: string;
  }[];
  readonly clientCertificate: {
    readonly certificate: string;
    readonly privateKey: string;
    readonly trustBundle: string;
  };
}

const readyMsMax = 90_000;
/** The built command line. */
export const clustorCommand: string = join(repositoryDirectory, 'dist', 'cli', 'main.js');

/** What a cluster of idle partitions answers when it is asked at last. */
export interface IdleAnswers {
  readonly hibernatingReplicas: number;
  readonly ledPartitions: number;
  /** An append to the first, the middle and the last partition: milliseconds until each was acknowledged. */
  readonly appendMs: readonly number[];
}

/** The product as a target. */
export interface ClustorTarget extends RunningTarget {
  askIdle(): Promise<IdleAnswers>;
}

/** Starts a cluster and connects to it. */
export async function startClustor(options: ClustorOptions): Promise<ClustorTarget> {
  if (!existsSync(clustorCommand)) throw new Error('the package is not built: npm run build');
  mkdirSync(options.directory, { recursive: true });
  const dataDirectory = join(options.directory, 'data');
  const up = startProgram(
    process.execPath,
    [
      clustorCommand,
      'up',
      '--json',
      ...['--dir', dataDirectory],
      ...['--ports', 'auto'],
      ...['--partitions', String(options.partitions ?? 1)],
      ...(options.isUnencrypted === true ? ['--unencrypted'] : []),
    ],
    { logPath: join(options.directory, 'up.log'), isOutputPiped: true },
  );
  try {
    const ready = await readReady(up);
    return makeTarget(options, up, ready, await openClient(ready));
  } catch (error) {
    await stopChild(up);
    throw error;
  }
}

async function openClient(ready: ReadyEvent): Promise<ConnectedClient> {
  const { certificate, privateKey, trustBundle } = ready.clientCertificate;
  return connect({
    addresses: ready.nodes.map((node) => node.address),
    certificate: readFileSync(certificate, 'utf8'),
    privateKey: readFileSync(privateKey, 'utf8'),
    trustBundle: readFileSync(trustBundle, 'utf8'),
    clusterId: ready.clusterId,
  });
}

function makeTarget(
  options: ClustorOptions,
  up: ChildProcess,
  ready: ReadyEvent,
  client: ConnectedClient,
): ClustorTarget {
  const value = Buffer.alloc(options.valueBytes, 'abcdefghijklmnopqrstuvwxyz0123456789');
  const [partition] = client.partitionIds;
  if (partition === undefined) throw new Error('the cluster has no partition');
  // One callback per slot, made once: nothing is allocated per request on the way without promises.
  const answers: ((slot: number, isOk: boolean) => void)[] = [];
  const callbacks: ((outcome: unknown) => void)[] = [];
  const callbackOf = (slot: number): ((outcome: unknown) => void) =>
    (callbacks[slot] ??= (outcome) => answers[slot]?.(slot, !(outcome instanceof Error)));
  return {
    name: options.isUnencrypted === true ? 'clustor unencrypted' : 'clustor',
    serverPids: ready.nodes.map((node) => node.pid),
    send(slot, answered) {
      answers[slot] = answered;
      client.appendWith(partition, value, callbackOf(slot));
    },
    async flushes() {
      return countersOf(await client.status());
    },
    askIdle: () => askIdle(client),
    async stop() {
      await client.close();
      await stopChild(up);
      rmSync(join(options.directory, 'data'), { recursive: true });
    },
  };
}

async function askIdle(client: ConnectedClient): Promise<IdleAnswers> {
  const { nodes } = await client.status();
  const replicas = nodes.flatMap(({ status }) => status?.partitions ?? []);
  const ids = client.partitionIds;
  const appendMs: number[] = [];
  for (const at of [0, Math.floor(ids.length / 2), ids.length - 1]) {
    const id = ids[at];
    if (id === undefined) continue;
    const beganMs = performance.now();
    await client.append(id, Buffer.from('awake'));
    appendMs.push(Math.round((performance.now() - beganMs) * 10) / 10);
  }
  return {
    hibernatingReplicas: replicas.filter((replica) => replica.isHibernating).length,
    ledPartitions: replicas.filter((replica) => replica.role === 'leader').length,
    appendMs,
  };
}

/** The counters of the node that took most entries: the leader's, or a follower's equal to them. */
function countersOf(status: { readonly nodes: readonly NodeReport[] }): FlushCounters | undefined {
  let found: FlushCounters | undefined;
  for (const { status: node } of status.nodes) {
    if (node === undefined || node.journal.entries < (found?.entryCount ?? 0)) continue;
    found = { flushCount: node.journal.dataFlushes, entryCount: node.journal.entries };
  }
  return found;
}

function readReady(up: ChildProcess): Promise<ReadyEvent> {
  const { stdout } = up;
  if (stdout === null) throw new Error('the output of `up` is not readable');
  return new Promise((resolve, reject) => {
    const lines = createInterface({ input: stdout });
    const timer = setTimeout(() => {
      reject(new Error(`the cluster was not ready within ${String(readyMsMax)} ms`));
    }, readyMsMax);
    lines.on('line', (line) => {
      const event = parseEvent(line);
      if (event === undefined) return;
      clearTimeout(timer);
      resolve(event);
    });
    up.once('exit', (code, signal) => {
      clearTimeout(timer);
      reject(new Error(`\`up\` ended before it was ready (${String(code ?? signal)})`));
    });
  });
}

function parseEvent(line: string): ReadyEvent | undefined {
  if (!line.startsWith('{')) return undefined;
  const event = JSON.parse(line) as { readonly event?: string };
  return event.event === 'ready' ? (event as ReadyEvent) : undefined;
}
