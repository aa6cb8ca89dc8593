/** `clustor quarantine`: the word of an operator that begins a quarantine, or ends what the system does not end by itself. */
import type { Command } from 'commander';
import { runClearQuarantine, runSetQuarantine, type NodeOptions } from './client-commands.ts';
import type { CommandKit, JsonOption } from './member-options.ts';

interface TicketOption {
  readonly ticket: string;
}

/** Adds the commands. */
export function addQuarantineCommand(root: Command, kit: CommandKit): void {
  const quarantine = root
    .command('quarantine')
    .description('begin or end the quarantine of a replica');
  const atReplica = (command: Command): Command =>
    kit
      .withConnection(command)
      .requiredOption('--node <id>', 'which node', kit.wholeNumber)
      .option('--partition <id>', 'which partition; needed when there are several')
      .requiredOption('--ticket <text>', 'names the decision, for the record');
  atReplica(
    quarantine
      .command('set')
      .description('a replica applies nothing more and refuses reads; its log goes on'),
  )
    .requiredOption('--reason <text>', 'why, for whoever finds it')
    .action((options: NodeOptions & JsonOption & TicketOption & { readonly reason: string }) =>
      kit.run(options.json === true, (output) => runSetQuarantine(options, output)),
    );
  atReplica(quarantine.command('clear').description('end one that waits for an operator'))
    .option(
      '--which <reason>',
      'Integrity, ApplyFault or Administrative; needed where several are in force',
    )
    .action((options: NodeOptions & JsonOption & TicketOption & { readonly which?: string }) =>
      kit.run(options.json === true, (output) => runClearQuarantine(options, output)),
    );
}
