/** `clustor quarantine clear`: the word of an operator that ends what the system does not end by itself. */
import type { Command } from 'commander';
import { runClearQuarantine, type NodeOptions } from './client-commands.ts';
import type { CommandKit, JsonOption } from './member-options.ts';

/** Adds the command. */
export function addQuarantineCommand(root: Command, kit: CommandKit): void {
  const quarantine = root.command('quarantine').description('end the quarantine of a replica');
  kit
    .withConnection(
      quarantine
        .command('clear')
        .description('end one that waits for an operator, once everything is repaired'),
    )
    .requiredOption('--node <id>', 'which node', kit.wholeNumber)
    .option('--partition <id>', 'which partition; needed when there are several')
    .requiredOption('--ticket <text>', 'names the decision, for the log')
    .action((options: NodeOptions & JsonOption & { readonly ticket: string }) =>
      kit.run(options.json === true, (output) => runClearQuarantine(options, output)),
    );
}
