/** Options of `clustor wal …`, `clustor ledger show` and `clustor prove`. */
import type { Command } from 'commander';
import { runWalInspect } from './inspect-command.ts';
import {
  runLedgerShow,
  runWalDump,
  runWalSalvage,
  runWalVerify,
  type DumpOptions,
  type SalvageOptions,
} from './journal-commands.ts';
import { withKeyOptions, type KeyOptions } from './key-options.ts';
import type { CommandKit } from './member-options.ts';
import { runProve, type ProveOptions } from './prove-command.ts';

interface JsonOption {
  readonly json?: boolean;
}

/** Adds the commands that read data directories without a node. */
export function addJournalCommands(root: Command, kit: CommandKit): void {
  addWalCommands(root.command('wal').description('look at journals'), kit);
  withKeyOptions(root.command('ledger').description('look at ledgers').command('show'))
    .description('show the generations, flushes and records of the ledger of a stopped node')
    .argument('<directory>', 'data directory of the node')
    .option('--json', 'one JSON document instead of text')
    .action((directory: string, options: KeyOptions & JsonOption) =>
      kit.run(options.json === true, (output) => runLedgerShow(directory, options, output)),
    );
  kit
    .withConnection(withKeyOptions(root.command('prove')))
    .description("say whether entries are on a quorum's stable storage, and by which evidence")
    .argument(
      '[directories...]',
      'data directories of stopped nodes; the nodes that run without any',
    )
    .option('--partition <id>', 'which partition; needed when there are several')
    .option('--index <index>', 'one entry', kit.wholeNumber)
    .option('--from <index>', 'first entry of a range', kit.wholeNumber)
    .option('--to <index>', 'last entry of a range', kit.wholeNumber)
    .option('--kek-files <files>', 'a KEK file for each directory, separated by commas')
    .option('--indexes-from <file>', 'file with indexes, separated by white space')
    .action((directories: readonly string[], options: ProveOptions & JsonOption) =>
      kit.run(options.json === true, (output) => runProve(directories, options, output)),
    );
}

function addWalCommands(wal: Command, kit: CommandKit): void {
  withKeyOptions(wal.command('inspect'))
    .description('show what is in the journal and ledger of a stopped node')
    .argument('<directory>', 'data directory of the node')
    .option('--json', 'one JSON document instead of text')
    .action((directory: string, options: KeyOptions & JsonOption) =>
      kit.run(options.json === true, (output) => runWalInspect(directory, options, output)),
    );
  withKeyOptions(wal.command('verify'))
    .description('read the whole journal of a stopped node against its ledger')
    .argument('<directory>', 'data directory of the node')
    .option('--json', 'one JSON document instead of text')
    .action((directory: string, options: KeyOptions & JsonOption) =>
      kit.run(options.json === true, (output) => runWalVerify(directory, options, output)),
    );
  withKeyOptions(wal.command('dump'))
    .description('print the live entries of a partition as JSON lines')
    .argument('<directory>', 'data directory of the node')
    .option('--partition <id>', 'which partition; needed when there are several')
    .option('--from <index>', 'first entry', kit.wholeNumber, 1)
    .option('--to <index>', 'last entry', kit.wholeNumber)
    .option('--json', 'errors as JSON lines too')
    .action((directory: string, options: DumpOptions & JsonOption) =>
      kit.run(options.json === true, (output) => runWalDump(directory, options, output)),
    );
  withKeyOptions(wal.command('salvage'))
    .description('show what was saved of segments for a partition in quarantine')
    .argument('<directory>', 'data directory of the node')
    .option('--partition <id>', 'which partition; needed when there are several')
    .option('--entries', 'print its whole entries as JSON lines')
    .option('--json', 'one JSON document instead of text')
    .action((directory: string, options: SalvageOptions & JsonOption) =>
      kit.run(options.json === true, (output) => runWalSalvage(directory, options, output)),
    );
}
