/** `clustor scrub status`, `start`, `pause` and `resume`: the background scrub of running nodes. */
import type { Command } from 'commander';
import type { AdminClient, Plain } from '../admin/admin-client.ts';
import type { ScrubResponse } from '../admin/generated/clustor/admin/v1/admin_pb.ts';
import { bytesText } from '../base/bytes.ts';
import { colours } from './colours.ts';
import { eachNode, type EachNodeOptions } from './each-node.ts';
import type { CommandKit } from './member-options.ts';
import type { Output } from './output.ts';

/** Adds the commands. */
export function addScrubCommands(root: Command, kit: CommandKit): void {
  const scrub = root
    .command('scrub')
    .description('look at the background scrub of nodes, start it, make it pause, let it go on');
  const one = (
    name: string,
    description: string,
    ask: (admin: AdminClient) => Promise<Plain<ScrubResponse>>,
  ): void => {
    kit
      .withConnection(scrub.command(name).description(description))
      .option('--node <id>', 'only this node', kit.wholeNumber)
      .action((options: EachNodeOptions) =>
        kit.run(options.json === true, (output) =>
          eachNode(options, async ({ nodeId, admin }) => show(output, nodeId, await ask(admin))),
        ),
      );
  };
  one('status', 'show what it has read, how old the oldest reading is, what it found', (admin) =>
    admin.getScrub(),
  );
  one('start', 'read everything now, at the usual pace', (admin) => admin.startScrub());
  one('pause', 'read nothing more, through restarts too, until it is resumed', (admin) =>
    admin.pauseScrub(),
  );
  one('resume', 'let it go on', (admin) => admin.resumeScrub());
}

function show(output: Output, nodeId: number, response: Plain<ScrubResponse>): void {
  output.result({ nodeId, ...response }, scrubText(nodeId, response));
}

function scrubText(nodeId: number, { pausedSinceMs, scrub }: Plain<ScrubResponse>): string {
  const title = colours.bold(`node ${nodeId}`);
  const state =
    pausedSinceMs === 0
      ? 'at work'
      : colours.yellow(`pauses since ${new Date(pausedSinceMs).toISOString()}`);
  if (scrub === undefined) return `${title}  ${state}`;
  const {
    passes,
    bytesRead,
    busyMs,
    passBytesLeft,
    lastPassMs,
    coverageAgeMs,
    damagedSegments,
    ledgerRenewals,
    damagedSnapshots,
  } = scrub;
  const last = lastPassMs === 0 ? '' : `, the last one ended ${new Date(lastPassMs).toISOString()}`;
  const hours = (coverageAgeMs / 3_600_000).toFixed(1);
  const found = `${damagedSegments} segment(s) damaged, ledger written anew ${ledgerRenewals} time(s), ${damagedSnapshots} snapshot(s) damaged`;
  const isClean = damagedSegments + ledgerRenewals + damagedSnapshots === 0;
  return [
    `${title}  ${state}`,
    `${passes} passes since the start, ${bytesText(bytesRead)} read in ${(busyMs / 1000).toFixed(1)} s of work${last}`,
    ...(passBytesLeft === 0 ? [] : [`a pass is under way, ${bytesText(passBytesLeft)} left`]),
    `every byte was read or first seen within the last ${hours} h`,
    isClean ? colours.green('nothing found') : colours.red(found),
  ].join('\n');
}
