/** `clustor keys status` and `clustor keys rotate`: the keys of data directories of running nodes. */
import type { Command } from 'commander';
import pc from 'picocolors';
import type { AdminClient, Plain } from '../admin/admin-client.ts';
import type { KeysResponse } from '../admin/generated/clustor/admin/v1/admin_pb.ts';
import { ClustorError } from '../base/errors.ts';
import { connect, openAdminClient } from '../client/index.ts';
import { parseCertificateMaterial } from '../platform/certificate-files.ts';
import { parseAddress } from '../runtime/node-address.ts';
import { connectionOf, type ConnectionOptions } from './connection.ts';
import { exitCodes } from './exit-codes.ts';
import type { CommandKit } from './member-options.ts';
import { tableText, type Output } from './output.ts';

interface KeysOptions extends ConnectionOptions {
  /** Which node; all without it. */
  readonly node?: number;
  readonly json?: boolean;
}

type Keys = Plain<KeysResponse>;

/** Adds the commands. */
export function addKeyCommands(root: Command, kit: CommandKit): void {
  const keys = root
    .command('keys')
    .description('look at the keys of data directories, change them');
  const one = (name: string, description: string): Command =>
    kit
      .withConnection(keys.command(name).description(description))
      .option('--node <id>', 'only this node', kit.wholeNumber);
  one('status', 'show key epochs, and how far old segments are sealed anew').action(
    (options: KeysOptions) =>
      kit.run(options.json === true, (output) =>
        eachNode(options, output, (admin) => admin.getKeys()),
      ),
  );
  one('rotate', 'make new keys; old segments are sealed anew in the background').action(
    (options: KeysOptions) =>
      kit.run(options.json === true, (output) =>
        eachNode(options, output, (admin) => admin.rotateKeys()),
      ),
  );
}

/** One node after the other: a key service that is away stops the first one, and the others go on as they are. */
async function eachNode(
  options: KeysOptions,
  output: Output,
  ask: (admin: AdminClient) => Promise<Keys>,
): Promise<number> {
  const connection = await connectionOf(options, 'operator');
  const client = await connect(connection);
  try {
    const { nodes } = await client.describe();
    const chosen = nodes.filter((row) => options.node === undefined || row.nodeId === options.node);
    if (chosen.length === 0)
      throw new ClustorError(
        'CLUSTOR_INVALID_ARGUMENT',
        `there is no node ${options.node ?? ''}; there are ${nodes.map((row) => row.nodeId).join(', ')}`,
      );
    for (const { nodeId, address } of chosen) {
      const admin = openAdminClient({
        address: parseAddress(address),
        material: parseCertificateMaterial(connection),
        expected: nodeId,
      });
      try {
        const keys = await ask(admin);
        output.result({ nodeId, ...keys }, keysText(nodeId, keys));
      } finally {
        await admin.close();
      }
    }
    return exitCodes.done;
  } finally {
    await client.close();
  }
}

function keysText(nodeId: number, keys: Keys): string {
  const title = pc.bold(`node ${nodeId}`);
  if (!keys.isEncrypted) return `${title}  not encrypted`;
  const rows = keys.epochs.map((row) => [
    row.epoch,
    row.state,
    new Date(row.createdMs).toISOString(),
    row.kekId,
    row.segments,
  ]);
  return [
    `${title}  KEK in ${keys.provider}`,
    tableText(['epoch', 'state', 'made', 'wrapped by', 'segments'], rows),
    ...(keys.plainSegments === 0 ? [] : [`${keys.plainSegments} segment(s) not encrypted yet`]),
    rewritingText(keys),
    scheduleText(keys),
  ].join('\n');
}

function scheduleText(keys: Keys): string {
  const age = `the newest keys are ${daysText(keys.ageMs)} old`;
  if (keys.rotationFailure !== '')
    return pc.red(`${age}; changing them failed and is tried again: ${keys.rotationFailure}`);
  return keys.rotateAfterMs === 0
    ? `${age}; they are changed by \`clustor keys rotate\` only`
    : `${age}, and are changed by themselves in ${daysText(keys.nextRotationInMs)}`;
}

function daysText(ms: number): string {
  const hours = ms / (60 * 60 * 1000);
  return hours < 48 ? `${Math.round(hours)} hours` : `${(hours / 24).toFixed(1)} days`;
}

function rewritingText(keys: Keys): string {
  if (keys.lastFailure !== '')
    return pc.red(`sealing segments anew failed and is repeated: ${keys.lastFailure}`);
  if (keys.segmentsToRewrite === 0)
    return pc.green('every segment is sealed under the newest keys, but for what is being written');
  const place =
    keys.rewritingSegmentSeq === 0
      ? ''
      : `; segment ${keys.rewritingSegmentSeq}: ${keys.rewritingBlocksDone} of ${keys.rewritingBlocks} blocks`;
  return `${keys.segmentsToRewrite} segment(s) to be sealed anew, ${keys.segmentsRewritten} done${place}`;
}
