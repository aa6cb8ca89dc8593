/** `clustor durability get` and `set`: how the batches of a partition go to the disk. */
import type { Command } from 'commander';
import type { Plain } from '../admin/admin-client.ts';
import type { Durability } from '../admin/generated/clustor/admin/v1/admin_pb.ts';
import { colours } from './colours.ts';
import { exitCodes } from './exit-codes.ts';
import type { CommandKit } from './member-options.ts';
import { withLeader, type PartitionOptions } from './members-commands.ts';
import type { Output } from './output.ts';

interface SetOptions extends PartitionOptions {
  readonly expectedEpoch?: number;
  readonly timeoutS: number;
}

const modeOf = { strict: 'Strict', group: 'GroupFsync' } as const;

/** Adds the commands. */
export function addDurabilityCommands(root: Command, kit: CommandKit): void {
  const durability = root
    .command('durability')
    .description("look at, or change, how a partition's batches go to the disk");
  kit
    .withConnection(
      durability
        .command('get')
        .description('show the mode, its epoch, and what forbids Group-Fsync now'),
    )
    .option('--partition <id>', 'which partition; needed when there are several')
    .action((options: PartitionOptions & { readonly json?: boolean }) =>
      kit.run(options.json === true, (output) => runDurabilityGet(options, output)),
    );
  kit
    .withConnection(
      durability
        .command('set')
        .description('change the mode; group holds a batch for up to 5 ms or 64 KiB')
        .addArgument(
          durability.createArgument('<mode>', 'strict or group').choices(Object.keys(modeOf)),
        ),
    )
    .option('--partition <id>', 'which partition; needed when there are several')
    .option('--expected-epoch <n>', 'refuse when the mode was changed meanwhile', kit.wholeNumber)
    .option('--timeout-s <s>', 'give up after', kit.wholeNumber, 15)
    .action((mode: keyof typeof modeOf, options: SetOptions & { readonly json?: boolean }) =>
      kit.run(options.json === true, (output) => runDurabilitySet(mode, options, output)),
    );
}

async function runDurabilityGet(options: PartitionOptions, output: Output): Promise<number> {
  return withLeader(options, async (session) => {
    const { partitionId } = session;
    const found = await session.ask(Date.now() + 5_000, (admin) =>
      admin.getDurability({ partitionId }),
    );
    output.result(found, durabilityText(found));
    return exitCodes.done;
  });
}

async function runDurabilitySet(
  mode: keyof typeof modeOf,
  options: SetOptions,
  output: Output,
): Promise<number> {
  return withLeader(options, async (session) => {
    const { partitionId } = session;
    const { expectedEpoch, timeoutS } = options;
    const found = await session.ask(Date.now() + timeoutS * 1000, (admin) =>
      admin.setDurability({
        partitionId,
        mode: modeOf[mode],
        deadlineMs: timeoutS * 1000,
        ...(expectedEpoch === undefined ? {} : { expectedEpoch }),
      }),
    );
    output.result(found, `${colours.green('done')} ${durabilityText(found)}`);
    return exitCodes.done;
  });
}

function durabilityText(found: Plain<Durability>): string {
  const { mode, wantedMode, epoch, index, groupFsyncClause, groupFsyncReason } = found;
  const lines = [`mode ${colours.bold(mode)}, epoch ${epoch}, since entry ${index}`];
  if (wantedMode !== mode) lines.push(`wanted ${wantedMode}`);
  if (groupFsyncClause !== undefined)
    lines.push(`Group-Fsync is forbidden: ${groupFsyncClause}, ${groupFsyncReason ?? ''}`);
  return lines.join('\n');
}
