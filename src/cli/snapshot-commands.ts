/** `clustor snapshot take` and `list`: the snapshots that running nodes have of their replicas. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import type { AdminClient } from '../admin/admin-client.ts';
import type {
  ReportedPartition,
  ReportedSnapshot,
  ReportedSnapshotStatus,
} from '../admin/generated/node-status.ts';
import { bytesText } from '../base/bytes.ts';
import { ClustorError, isClustorError } from '../base/errors.ts';
import type { PartitionId } from '../base/ids.ts';
import { openAdminClient } from '../client/admin.ts';
import { connect, type ConnectedClient, type NodeReport } from '../client/index.ts';
import { parseCertificateMaterial } from '../platform/certificate-files.ts';
import { parseAddress } from '../runtime/node-address.ts';
import { choosePartition } from './client-commands.ts';
import { colours } from './colours.ts';
import { connectionOf, type ConnectionOptions } from './connection.ts';
import { exitCodes } from './exit-codes.ts';
import type { CommandKit, JsonOption } from './member-options.ts';
import { tableText, type Output } from './output.ts';

/** Options of `snapshot list`. */
export interface SnapshotListOptions extends ConnectionOptions {
  readonly partition?: string;
  readonly node?: number;
}

/** Options of `snapshot take`. */
export interface SnapshotTakeOptions extends SnapshotListOptions {
  readonly timeoutS: number;
}

/** How often the status is looked at while a snapshot is being written. */
const pollMs = 250;
/** A replica whose state is being changed, or that fetches a snapshot, is asked again for so long. */
const retryMsMax = 10_000;
const retryCodes = ['CLUSTOR_SNAPSHOT_UNAVAILABLE', 'CLUSTOR_OVERLOADED'] as const;

/** Adds the commands. */
export function addSnapshotCommands(root: Command, kit: CommandKit): void {
  const snapshot = root.command('snapshot').description('look at snapshots, and take some');
  kit
    .withConnection(
      snapshot
        .command('take')
        .description('take a snapshot of a replica, so that its log may begin behind it'),
    )
    .option('--partition <id>', 'which partition; needed when there are several')
    .option('--node <id>', 'only on this node', kit.wholeNumber)
    .option('--timeout-s <s>', 'give up waiting for a node after', kit.wholeNumber, 600)
    .action((options: SnapshotTakeOptions & JsonOption) =>
      kit.run(options.json === true, (output) => runSnapshotTake(options, output)),
    );
  kit
    .withConnection(
      snapshot
        .command('list')
        .description('show the snapshots of replicas, and what is done about them'),
    )
    .option('--partition <id>', 'only of this partition')
    .option('--node <id>', 'only on this node', kit.wholeNumber)
    .action((options: SnapshotListOptions & JsonOption) =>
      kit.run(options.json === true, (output) => runSnapshotList(options, output)),
    );
}

/**
 * Takes a snapshot on one node after the other. A node that fails, or is down, keeps none of the others from theirs; its error is
 * the command's at the end.
 */
export async function runSnapshotTake(
  options: SnapshotTakeOptions,
  output: Output,
): Promise<number> {
  const connection = await connectionOf(options, 'operator');
  const client = await connect(connection);
  try {
    const partitionId = await choosePartition(client, options.partition);
    const failures: unknown[] = [];
    let hosts = 0;
    for (const { nodeId, address } of await nodesOf(client, options)) {
      const admin = openAdminClient({
        address: parseAddress(address),
        material: parseCertificateMaterial(connection),
        expected: nodeId,
      });
      try {
        const snapshot = await takeOn(admin, { ...options, nodeId, partitionId, output });
        hosts++;
        output.result({ nodeId, partitionId, snapshot }, takenText(nodeId, snapshot));
      } catch (error) {
        // Nodes without a replica are passed over, unless one is named.
        if (options.node !== undefined || !isClustorError(error, 'CLUSTOR_UNKNOWN_PARTITION'))
          failures.push(error);
      } finally {
        await admin.close();
      }
    }
    const [failure] = failures;
    for (const later of failures.slice(1)) output.error(later);
    if (failure !== undefined) throw failure as Error;
    if (hosts === 0)
      throw new ClustorError(
        'CLUSTOR_UNKNOWN_PARTITION',
        `no node hosts a replica of partition ${partitionId}`,
      );
    return exitCodes.done;
  } finally {
    await client.close();
  }
}

/** Shows the snapshots of every replica that its node tells of. */
export async function runSnapshotList(
  options: SnapshotListOptions,
  output: Output,
): Promise<number> {
  const client = await connect(await connectionOf(options, 'operator'));
  try {
    await nodesOf(client, options);
    const reports = (await client.status()).nodes.filter(
      ({ nodeId }) => options.node === undefined || nodeId === options.node,
    );
    const nodes = reports.map(({ nodeId, address, status, error }) => ({
      nodeId,
      address,
      error: error === undefined ? undefined : { code: error.code, message: error.message },
      partitions: (status?.partitions ?? [])
        .filter((row) => options.partition === undefined || row.partitionId === options.partition)
        .map(({ partitionId, role, baseIndex, lastIndex, appliedIndex, snapshots }) => ({
          partitionId,
          role,
          baseIndex,
          lastIndex,
          appliedIndex,
          snapshots,
        })),
    }));
    output.result({ nodes }, listText(reports, options.partition));
    return exitCodes.done;
  } finally {
    await client.close();
  }
}

/** The nodes that are meant. @throws ClustorError `CLUSTOR_INVALID_ARGUMENT` for one that is none. */
async function nodesOf(
  client: ConnectedClient,
  { node }: SnapshotListOptions,
): Promise<readonly { readonly nodeId: NodeReport['nodeId']; readonly address: string }[]> {
  const { nodes } = await client.describe();
  const chosen = nodes.filter(({ nodeId }) => node === undefined || nodeId === node);
  if (chosen.length > 0) return chosen;
  throw new ClustorError(
    'CLUSTOR_INVALID_ARGUMENT',
    `there is no node ${node ?? ''}; there are ${nodes.map(({ nodeId }) => nodeId).join(', ')}`,
  );
}

interface Taking {
  readonly nodeId: number;
  readonly partitionId: PartitionId;
  readonly timeoutS: number;
  readonly output: Output;
}

/** Takes a snapshot on one node, and says how far it is meanwhile. */
async function takeOn(admin: AdminClient, taking: Taking): Promise<ReportedSnapshot> {
  const { nodeId, partitionId, timeoutS, output } = taking;
  const untilMs = Date.now() + timeoutS * 1000;
  const retryUntilMs = Date.now() + Math.min(retryMsMax, timeoutS * 1000);
  const newestBefore = newestOf(await admin.getPartition(partitionId))?.index ?? 0;
  for (;;) {
    try {
      const { snapshot } = await admin.takeSnapshot({ partitionId, deadlineMs: pollMs });
      if (snapshot !== undefined) return snapshot;
    } catch (error) {
      if (isClustorError(error, 'CLUSTOR_DEADLINE_EXCEEDED')) break;
      const isPassing = isClustorError(error) && retryCodes.some((code) => code === error.code);
      if (!isPassing || Date.now() >= retryUntilMs) throw error;
      output.progress(`node ${nodeId}: ${error.message}; it is asked again`);
    }
    await sleep(pollMs);
  }
  for (;;) {
    const partition = await admin.getPartition(partitionId);
    const { isTaking = false, takingBytes = 0, lastFailure = '' } = partition.snapshots ?? {};
    const newest = newestOf(partition);
    if (!isTaking && newest !== undefined && newest.index > newestBefore) return newest;
    if (!isTaking)
      throw new ClustorError(
        'CLUSTOR_SNAPSHOT_UNAVAILABLE',
        `node ${nodeId} took no snapshot of partition ${partitionId}: ${lastFailure}`,
      );
    output.progress(`node ${nodeId}: ${bytesText(takingBytes)} are written`);
    if (Date.now() >= untilMs)
      throw new ClustorError(
        'CLUSTOR_DEADLINE_EXCEEDED',
        `node ${nodeId} is still taking the snapshot of partition ${partitionId} after ${timeoutS} s`,
        { outcome: 'unknown' },
      );
    await sleep(pollMs);
  }
}

function newestOf({
  snapshots,
}: Pick<ReportedPartition, 'snapshots'>): ReportedSnapshot | undefined {
  return snapshots?.snapshots.at(-1);
}

function takenText(nodeId: number, { index, term, bytes }: ReportedSnapshot): string {
  return `${colours.green('node')} ${nodeId} has a snapshot up to entry ${index} of term ${term}, ${bytesText(bytes)}`;
}

function listText(reports: readonly NodeReport[], partitionId: string | undefined): string {
  const rows = reports.flatMap(({ nodeId, status, error }) => {
    if (status === undefined)
      return [['', nodeId, colours.red('down'), '', '', '', error?.code ?? '']];
    return status.partitions
      .filter((row) => partitionId === undefined || row.partitionId === partitionId)
      .flatMap((row) => replicaRows(nodeId, row));
  });
  return tableText(
    ['partition', 'node', 'log begins behind', 'snapshot up to', 'bytes', 'taken', 'state'],
    rows,
  );
}

/** A row for each snapshot, the newest first, or one that says that there is none. */
function replicaRows(
  nodeId: number,
  { partitionId, baseIndex, snapshots: status }: ReportedPartition,
): readonly (readonly (string | number)[])[] {
  const state = status === undefined ? 'takes none' : stateText(status);
  const [newest, ...older] = (status?.snapshots ?? []).toReversed();
  const head = [partitionId, nodeId, baseIndex];
  if (newest === undefined) return [[...head, '–', '', '', state]];
  return [
    [...head, ...snapshotCells(newest), state],
    ...older.map((row) => ['', '', '', ...snapshotCells(row), '']),
  ];
}

function snapshotCells({ index, term, bytes, createdMs }: ReportedSnapshot): readonly string[] {
  return [`${index} (term ${term})`, bytesText(bytes), new Date(createdMs).toISOString()];
}

/** What is done about snapshots, the gravest first. */
function stateText(status: ReportedSnapshotStatus): string {
  const { isMissing, isTaking, takingBytes, lastFailure, installation } = status;
  const { isPulling = false, fromNodeId, partsDone = 0, parts = 0 } = installation ?? {};
  const asked = fromNodeId === undefined ? '' : ` from node ${fromNodeId}`;
  const fetching = isPulling ? `fetching${asked}, ${partsDone} of ${parts} parts` : '';
  if (isMissing) return [colours.red('missing'), fetching].filter((text) => text !== '').join(', ');
  if (isPulling) return fetching;
  if (isTaking) return `taking, ${bytesText(takingBytes)}`;
  return lastFailure === '' ? '' : colours.yellow(`not taken: ${lastFailure}`);
}
