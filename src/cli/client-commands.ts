/** `clustor status`, `append`, `read` and `why`: what a client of a running cluster can ask. */
import { bytesText, utf8Decode, utf8Encode } from '../base/bytes.ts';
import { ClustorError } from '../base/errors.ts';
import { partitionId, type PartitionId } from '../base/ids.ts';
import type { AdminClient } from '../admin/admin-client.ts';
import type { WhyKind } from '../admin/why.ts';
import { openAdminClient } from '../client/admin.ts';
import { connect, type ConnectedClient, type NodeReport } from '../client/index.ts';
import { parseCertificateMaterial } from '../platform/certificate-files.ts';
import { parseAddress } from '../runtime/node-address.ts';
import { colours } from './colours.ts';
import { connectionOf, type ConnectionOptions } from './connection.ts';
import { exitCodes } from './exit-codes.ts';
import { tableText, type Output } from './output.ts';

/** Nodes that hold replicas are waited for this long at most. */
const hostWaitMsMax = 3_000;

/** Options of `append`. */
export interface AppendCommandOptions extends ConnectionOptions {
  readonly partition?: string;
  readonly key?: string;
  readonly deadlineMs: number;
}

/** Options of `read`. */
export interface ReadCommandOptions extends ConnectionOptions {
  readonly partition?: string;
  readonly deadlineMs: number;
  readonly snapshotOnly?: boolean;
}

/** Shows every node and partition. The exit code tells whether a partition is without a leader. */
export async function runStatus(options: ConnectionOptions, output: Output): Promise<number> {
  return withClient(options, 'operator', async (client) => {
    const { nodes } = await client.status();
    const led = new Set(
      nodes.flatMap(
        ({ status }) =>
          status?.partitions.filter((row) => row.role === 'leader').map((row) => row.partitionId) ??
          [],
      ),
    );
    const known = new Set(
      nodes.flatMap(({ status }) => status?.partitions.map((row) => row.partitionId) ?? []),
    );
    const plain = nodes.map(({ nodeId, address, status, error }) => ({
      nodeId,
      address,
      status,
      error: error === undefined ? undefined : { code: error.code, message: error.message },
    }));
    output.result({ nodes: plain }, statusText(nodes));
    return known.size > 0 && led.size === known.size ? exitCodes.done : exitCodes.refused;
  });
}

/** Appends one entry: the argument, or standard input. */
export async function runAppend(
  data: string | undefined,
  options: AppendCommandOptions,
  output: Output,
): Promise<number> {
  const bytes = data === undefined ? await standardInput() : utf8Encode(data);
  const deadline = new Deadline(options.deadlineMs);
  return withClient({ ...options, deadline }, 'client', async (client) => {
    const key = options.key === undefined ? {} : { idempotencyKey: utf8Encode(options.key) };
    const partition = await choosePartition(client, options.partition, deadline);
    const { term, index, result } = await client.append(partition, bytes, {
      deadlineMs: deadline.leftMs,
      ...key,
    });
    const shown = result === undefined || result.length === 0 ? undefined : textOrBase64(result);
    output.result(
      { term, index, result: shown },
      `${colours.green('committed')} term ${term} index ${index}${shown === undefined ? '' : ` → ${shown}`}`,
    );
    return exitCodes.done;
  });
}

/** Asks the state machine. */
export async function runRead(
  query: string | undefined,
  options: ReadCommandOptions,
  output: Output,
): Promise<number> {
  const deadline = new Deadline(options.deadlineMs);
  return withClient({ ...options, deadline }, 'client', async (client) => {
    const consistency = options.snapshotOnly === true ? 'snapshotOnly' : 'linearizable';
    const partition = await choosePartition(client, options.partition, deadline);
    const { appliedIndex, result } = await client.read(partition, utf8Encode(query ?? ''), {
      deadlineMs: deadline.leftMs,
      consistency,
    });
    output.result(
      { appliedIndex, consistency, result: textOrBase64(result) },
      textOrBase64(result),
    );
    return exitCodes.done;
  });
}

/** One node, and which of its partitions. */
export interface NodeOptions extends ConnectionOptions {
  readonly node: number;
  readonly partition?: string;
}

/** Asks one node why it is as it is. */
export async function runWhy(kind: WhyKind, options: NodeOptions, output: Output): Promise<number> {
  await atNode(options, async (admin, partitionId) => {
    const answer = await admin.why(partitionId, kind);
    output.result(
      answer,
      `${colours.bold(answer.clause)}: ${answer.explanation}\n${colours.dim(answer.advice)}`,
    );
  });
  return exitCodes.done;
}

/** Puts the replica of one node into quarantine. */
export async function runSetQuarantine(
  options: NodeOptions & { readonly ticket: string; readonly reason: string },
  output: Output,
): Promise<number> {
  const { node, ticket, reason } = options;
  await atNode(options, async (admin, partitionId) => {
    await admin.setQuarantine({ partitionId, ticket, reason });
    output.result(
      { partitionId, node, ticket, reason },
      `The replica of partition ${partitionId} on node ${node} is in Administrative quarantine.`,
    );
  });
  return exitCodes.done;
}

/** Ends a quarantine at one node that waits for an operator. */
export async function runClearQuarantine(
  options: NodeOptions & { readonly ticket: string; readonly which?: string },
  output: Output,
): Promise<number> {
  const { node, ticket, which = '' } = options;
  await atNode(options, async (admin, partitionId) => {
    await admin.clearQuarantine({ partitionId, ticket, which });
    output.result(
      { partitionId, node, ticket },
      `The quarantine of partition ${partitionId} on node ${node} ends.`,
    );
  });
  return exitCodes.done;
}

/** Runs something with the admin service of the named node. */
async function atNode(
  options: NodeOptions,
  run: (admin: AdminClient, partitionId: PartitionId) => Promise<void>,
): Promise<void> {
  const connection = await connectionOf(options, 'operator');
  await withClient(options, 'operator', async (client) => {
    const { nodes } = await client.describe();
    const node = nodes.find((row) => row.nodeId === options.node);
    if (node === undefined)
      throw new ClustorError(
        'CLUSTOR_INVALID_ARGUMENT',
        `there is no node ${options.node}; there are ${nodes.map((row) => row.nodeId).join(', ')}`,
      );
    const admin = openAdminClient({
      address: parseAddress(node.address),
      material: parseCertificateMaterial(connection),
      expected: node.nodeId,
    });
    try {
      await run(admin, await choosePartition(client, options.partition));
      return exitCodes.done;
    } finally {
      await admin.close();
    }
  });
}

/** What a command may take in all, from here on. */
class Deadline {
  readonly #atMs: number;

  constructor(deadlineMs: number) {
    this.#atMs = performance.now() + deadlineMs;
  }

  get leftMs(): number {
    return Math.max(0, Math.ceil(this.#atMs - performance.now()));
  }
}

async function withClient(
  options: ConnectionOptions & { readonly deadline?: Deadline },
  role: 'client' | 'operator',
  run: (client: ConnectedClient) => Promise<number>,
): Promise<number> {
  const { deadline } = options;
  const connection = await connectionOf(options, role);
  const client = await connect(
    deadline === undefined
      ? connection
      : { ...connection, limits: { openDeadlineMs: Math.max(1, deadline.leftMs) } },
  );
  try {
    return await run(client);
  } finally {
    await client.close();
  }
}

/**
 * The partition that is meant: the named one, or the only one. The nodes that answered first may hold no replica, so the others
 * are waited for, within the deadline. @throws ClustorError where it must be named.
 */
export async function choosePartition(
  client: ConnectedClient,
  wanted: string | undefined,
  deadline: Deadline = new Deadline(hostWaitMsMax),
): Promise<PartitionId> {
  if (wanted !== undefined) return partitionId(wanted);
  const wait = new Deadline(Math.min(hostWaitMsMax, deadline.leftMs));
  while (client.partitionIds.length === 0 && wait.leftMs > 0) {
    await client.describe();
    await new Promise((wake) => setTimeout(wake, 20));
  }
  const [first, second] = client.partitionIds;
  if (first === undefined)
    throw new ClustorError(
      'CLUSTOR_UNKNOWN_PARTITION',
      'the nodes that answered host no partition',
    );
  if (second !== undefined)
    throw new ClustorError(
      'CLUSTOR_INVALID_ARGUMENT',
      `there are ${client.partitionIds.length} partitions; name one with --partition, such as ${first}`,
    );
  return first;
}

function statusText(nodes: readonly NodeReport[]): string {
  const nodeRows = nodes.map(({ nodeId, address, status, error }) =>
    status === undefined
      ? [nodeId, address, colours.red('down'), error?.code ?? '', '', '', '']
      : [
          nodeId,
          address,
          status.clockAlarm ? colours.red('clock alarm') : colours.green('up'),
          `${Math.round(status.uptimeMs / 1000)} s`,
          `${status.journal.flushMsP50.toFixed(2)} / ${status.journal.flushMsP99.toFixed(2)} ms`,
          status.journal.ioWriterMode,
          diskText(status.disk),
        ],
  );
  const partitionRows = nodes.flatMap(({ nodeId, status }) =>
    (status?.partitions ?? []).map((row) => [
      row.partitionId,
      nodeId,
      roleText(row),
      row.term,
      row.baseIndex,
      row.durableIndex,
      row.commitIndex,
      row.appliedIndex,
      faultText(row),
    ]),
  );
  const nodeTable = tableText(
    ['node', 'TLS', 'state', 'up for', 'sync p50 / p99', 'writer', 'disk'],
    nodeRows,
  );
  return `${nodeTable}\n${writerText(nodes)}\n${tableText(['partition', 'node', 'role', 'term', 'base', 'durable', 'commit', 'applied', 'fault'], partitionRows)}`;
}

/** How the writers stand and how long the disks take: of each window the median, the 99th percentile and the slowest chain. */
function writerText(nodes: readonly NodeReport[]): string {
  const rows = nodes.flatMap(({ nodeId, status }) => {
    const writer = status?.journal.ioWriter;
    if (writer === undefined) return [];
    const windows = writer.latency.map(({ chains, p50Ms, p99Ms, maxMs }) =>
      chains === 0 ? '' : `${p50Ms.toFixed(2)} / ${p99Ms.toFixed(2)} / ${maxMs.toFixed(2)} ms`,
    );
    const since = new Date(writer.sinceMs).toISOString();
    const why =
      writer.alarm === 'None'
        ? ''
        : `${writer.alarm === 'Degraded' ? colours.yellow(writer.cause) : colours.red(writer.cause)} since ${since}`;
    return [[nodeId, why, ...windows]];
  });
  return tableText(
    ['node', 'writer degraded', 'syncs of 10 s: p50 / p99 / max', 'of 1 min', 'of 10 min'],
    rows,
  );
}

function diskText(disk: { readonly pressure: string; readonly freeBytes: number }): string {
  const free = `${bytesText(disk.freeBytes)} free`;
  if (disk.pressure === 'none') return free;
  return disk.pressure === 'hard'
    ? `${colours.red('refuses writes')}, ${free}`
    : `${colours.yellow('fills up')}, ${free}`;
}

function faultText(row: {
  readonly inDoubt: boolean;
  readonly quarantines: readonly { readonly reason: string }[];
  readonly snapshots?: { readonly isMissing: boolean } | undefined;
}): string {
  const [gravest] = row.quarantines;
  if (gravest !== undefined) return colours.red(`quarantine: ${gravest.reason}`);
  if (row.snapshots?.isMissing === true) return colours.red('waits for a snapshot');
  return row.inDoubt ? colours.red('in doubt') : '';
}

function roleText(row: {
  readonly role: string;
  readonly nodeId?: number;
  readonly isMember: boolean;
  readonly isHibernating: boolean;
  readonly lease?: { readonly state: string } | undefined;
}): string {
  if (!row.isMember) return colours.dim('no member');
  const role = row.role === 'leader' ? colours.green(row.role) : row.role;
  if (row.isHibernating) return `${role} ${colours.dim('asleep')}`;
  return row.lease?.state === 'Enabled' ? `${role} ${colours.dim('lease')}` : role;
}

function textOrBase64(bytes: Uint8Array): string {
  try {
    return utf8Decode(bytes);
  } catch {
    return Buffer.from(bytes).toString('base64');
  }
}

async function standardInput(): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(Buffer.from(chunk as Uint8Array));
  return Buffer.concat(chunks);
}
