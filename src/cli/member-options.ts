/** Options of `clustor members …` and `clustor transfer-leader`. */
import { Option, type Command } from 'commander';
import {
  runMembersAdd,
  runMembersChange,
  runMembersList,
  runMembersPromote,
  runMembersRemove,
  runMembersReplace,
  runMembersRollback,
  runTransferLeader,
  type AddOptions,
  type ChangeOptions,
  type PartitionOptions,
  type ReplaceOptions,
} from './members-commands.ts';
import type { Output } from './output.ts';

/** What the commands share with all others. */
export interface CommandKit {
  withConnection(command: Command): Command;
  wholeNumber(text: string): number;
  run(isJson: boolean, command: (output: Output) => Promise<number>): Promise<void>;
}

/** Every command can print JSON. */
export interface JsonOption {
  readonly json?: boolean;
}

/** Adds the commands. */
export function addMemberCommands(root: Command, kit: CommandKit): void {
  const members = root.command('members').description('show and change the members of a partition');
  const one = (name: string, description: string): Command =>
    kit
      .withConnection(members.command(name).description(description))
      .option('--partition <id>', 'which partition; needed when there are several');
  one('list', 'show the members as their leader sees them').action(
    (options: PartitionOptions & JsonOption) =>
      kit.run(options.json === true, (output) => runMembersList(options, output)),
  );
  withChange(one('add', 'add a node: as a learner first, then as a voter'), kit)
    .requiredOption('--node <id>', 'node that runs and holds no replica of it yet', kit.wholeNumber)
    .option('--address <list>', 'its host:port, several separated by commas')
    .addOption(
      new Option('--as <role>', 'what it becomes')
        .choices(['voter', 'learner', 'observer'])
        .default('voter'),
    )
    .action((options: AddOptions & JsonOption) =>
      kit.run(options.json === true, (output) => runMembersAdd(options, output)),
    );
  withChange(one('promote', 'make a learner a voter'), kit)
    .requiredOption('--node <id>', 'node of the learner', kit.wholeNumber)
    .action((options: ChangeOptions & JsonOption & { readonly node: number }) =>
      kit.run(options.json === true, (output) => runMembersPromote(options, output)),
    );
  withChange(one('remove', 'remove the member on a node'), kit)
    .requiredOption('--node <id>', 'node of the member', kit.wholeNumber)
    .action((options: ChangeOptions & JsonOption & { readonly node: number }) =>
      kit.run(options.json === true, (output) => runMembersRemove(options, output)),
    );
  withChange(one('replace', 'put a voter on another node in the place of one'), kit)
    .requiredOption('--node <id>', 'node of the member that goes', kit.wholeNumber)
    .requiredOption('--with <id>', 'node of the one that comes', kit.wholeNumber)
    .option('--address <list>', 'host:port of the one that comes')
    .action((options: ReplaceOptions & JsonOption) =>
      kit.run(options.json === true, (output) => runMembersReplace(options, output)),
    );
  withChange(one('change', 'promote and remove several members in one joint step'), kit)
    .option('--promote <list>', 'nodes of learners, separated by commas')
    .option('--remove <list>', 'nodes of members, separated by commas')
    .action(
      (
        options: ChangeOptions &
          JsonOption & { readonly promote?: string; readonly remove?: string },
      ) => kit.run(options.json === true, (output) => runMembersChange(options, output)),
    );
  one('rollback', 'go back to the voters before the change that is under way')
    .option('--reason <text>', 'why, for the log', 'an operator asked for it')
    .option('--timeout-s <s>', 'give up waiting after', kit.wholeNumber, 30)
    .action(
      (
        options: PartitionOptions &
          JsonOption & { readonly reason: string; readonly timeoutS: number },
      ) => kit.run(options.json === true, (output) => runMembersRollback(options, output)),
    );
  addTransferCommand(root, kit);
}

function addTransferCommand(root: Command, kit: CommandKit): void {
  kit
    .withConnection(
      root.command('transfer-leader').description('hand leadership to the voter on a node'),
    )
    .option('--partition <id>', 'which partition; needed when there are several')
    .requiredOption('--to <id>', 'node that is to lead', kit.wholeNumber)
    .option('--dry-run', 'show who would lead, and change nothing')
    .option('--timeout-s <s>', 'give up after', kit.wholeNumber, 15)
    .action(
      (
        options: PartitionOptions &
          JsonOption & {
            readonly to: number;
            readonly dryRun?: boolean;
            readonly timeoutS: number;
          },
      ) => kit.run(options.json === true, (output) => runTransferLeader(options, output)),
    );
}

function withChange(command: Command, kit: CommandKit): Command {
  return command
    .option('--dry-run', 'show what would change and what it survives, and change nothing')
    .option('--domains <list>', 'fault domains: 1=east,2=west,…; a node without is one of its own')
    .addOption(
      new Option('--policy <name>', 'strict refuses what survives too little')
        .choices(['strict', 'advisory'])
        .default('strict'),
    )
    .option('--override <record>', 'with --policy advisory: the record of the decision')
    .option('--timeout-s <s>', 'give up waiting after', kit.wholeNumber, 150);
}
