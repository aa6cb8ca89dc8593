/** `clustor keys status` and `clustor keys rotate`: the keys of data directories of running nodes. */
import type { Command } from 'commander';
import type { Plain } from '../admin/admin-client.ts';
import type { KeysResponse } from '../admin/generated/clustor/admin/v1/admin_pb.ts';
import { colours } from './colours.ts';
import { eachNode, type EachNodeOptions } from './each-node.ts';
import type { CommandKit } from './member-options.ts';
import { tableText, type Output } from './output.ts';

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
    (options: EachNodeOptions) =>
      kit.run(options.json === true, (output) =>
        eachNode(options, async ({ nodeId, admin }) => show(output, nodeId, await admin.getKeys())),
      ),
  );
  one('rotate', 'make new keys; old segments are sealed anew in the background').action(
    (options: EachNodeOptions) =>
      kit.run(options.json === true, (output) =>
        eachNode(options, async ({ nodeId, admin }) =>
          show(output, nodeId, await admin.rotateKeys()),
        ),
      ),
  );
}

function show(output: Output, nodeId: number, keys: Keys): void {
  output.result({ nodeId, ...keys }, keysText(nodeId, keys));
}

function keysText(nodeId: number, keys: Keys): string {
  const title = colours.bold(`node ${nodeId}`);
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
    return colours.red(`${age}; changing them failed and is tried again: ${keys.rotationFailure}`);
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
    return colours.red(`sealing segments anew failed and is repeated: ${keys.lastFailure}`);
  if (keys.segmentsToRewrite === 0)
    return colours.green(
      'every segment is sealed under the newest keys, but for what is being written',
    );
  const place =
    keys.rewritingSegmentSeq === 0
      ? ''
      : `; segment ${keys.rewritingSegmentSeq}: ${keys.rewritingBlocksDone} of ${keys.rewritingBlocks} blocks`;
  return `${keys.segmentsToRewrite} segment(s) to be sealed anew, ${keys.segmentsRewritten} done${place}`;
}
