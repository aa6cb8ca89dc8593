#!/usr/bin/env node
/** The command line. */
import { readFileSync } from 'node:fs';
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import {
  runAppend,
  runRead,
  runStatus,
  runWhy,
  type AppendCommandOptions,
  type ReadCommandOptions,
} from './client-commands.ts';
import type { ConnectionOptions } from './connection.ts';
import { runDoctor } from './doctor-command.ts';
import { addDurabilityCommands } from './durability-commands.ts';
import { exitCodeOf, exitCodes } from './exit-codes.ts';
import { runInit, type InitOptions } from './init-command.ts';
import { withKeyOptions, type KeyOptions } from './key-options.ts';
import { addKeyCommands } from './keys-commands.ts';
import { addQuarantineCommand } from './quarantine-command.ts';
import { addScrubCommands } from './scrub-commands.ts';
import { addSnapshotCommands } from './snapshot-commands.ts';
import { addMemberCommands } from './member-options.ts';
import { addJournalCommands } from './journal-options.ts';
import { runNode, type NodeCommandOptions } from './node-command.ts';
import { createOutput, flushOutput, outliveReaders, type Output } from './output.ts';
import type { SimReportOptions } from './sim-report-command.ts';
import type { SimRunCommandOptions } from './sim-run-command.ts';
import { runUp, type UpOptions } from './up-command.ts';
import { isJsonAsked, usageError } from './usage-error.ts';

const whyKinds = [
  'notLeader',
  'readBlocked',
  'writeBlocked',
  'notReady',
  'membershipBlocked',
  'diskBlocked',
  'quarantined',
  'snapshotBlocked',
] as const;

function wholeNumber(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isSafeInteger(value) || value < 0)
    throw new InvalidArgumentError('a whole number is needed.');
  return value;
}

/** Positions in a plan, from 0. */
function positions(text: string): readonly number[] {
  return text === 'none' ? [] : text.split(',').map(wholeNumber);
}

function positiveNumber(text: string): number {
  const value = wholeNumber(text);
  if (value === 0) throw new InvalidArgumentError('a whole number above 0 is needed.');
  return value;
}

/** Runs a command and sets the exit code; errors are printed with what to do next. */
async function run(isJson: boolean, command: (output: Output) => Promise<number>): Promise<void> {
  const output = createOutput(isJson);
  try {
    process.exitCode = await command(output);
  } catch (error) {
    output.error(error);
    process.exitCode = exitCodeOf(error);
  }
}

/** Like {@link run}, and ends the process: a module of the user's may keep timers or sockets that would hold it open. */
async function runAndExit(
  isJson: boolean,
  command: (output: Output) => Promise<number>,
): Promise<void> {
  await run(isJson, command);
  await flushOutput();
  process.exit();
}

function withConnection(command: Command): Command {
  return command
    .option('--dir <folder>', 'folder of a local cluster', '.clustor')
    .option('--addresses <list>', 'host:port of nodes, separated by commas')
    .option('--certificate <file>', 'PEM file of the client certificate')
    .option('--private-key <file>', 'PEM file of its private key')
    .option('--trust-bundle <file>', 'PEM file of the authorities of nodes')
    .option('--json', 'one JSON line instead of text');
}

interface JsonOption {
  readonly json?: boolean;
}

function program(): Command {
  const root = new Command('clustor')
    .description('Run and ask clusters of the Clustor replication substrate')
    .version(packageVersion(), '--version')
    .showHelpAfterError()
    .configureOutput(isJsonAsked(process.argv) ? { writeErr: () => undefined } : {})
    .exitOverride();
  addUpCommand(root);
  addProcessCommands(root);
  addInspectionCommands(root);
  addClientCommands(root);
  addMemberCommands(root, { withConnection, wholeNumber, run });
  addDurabilityCommands(root, { withConnection, wholeNumber, run });
  addKeyCommands(root, { withConnection, wholeNumber, run });
  addScrubCommands(root, { withConnection, wholeNumber, run });
  addSnapshotCommands(root, { withConnection, wholeNumber, run });
  addJournalCommands(root, { withConnection, wholeNumber, run });
  addSimulatorCommands(root);
  return root;
}

function addUpCommand(root: Command): void {
  root
    .command('up')
    .description('run a local cluster of separate node processes until Ctrl-C')
    .option('--dir <folder>', 'where its state is kept', '.clustor')
    .option('--nodes <count>', 'number of nodes: 1, 3, 5 or 7', wholeNumber, 3)
    .option(
      '--spares <count>',
      'further nodes without replicas, for `clustor members add`',
      wholeNumber,
      0,
    )
    .option('--partitions <count>', 'number of partitions, all on all nodes', wholeNumber, 1)
    .option('--example <name>', 'run an example product: kv')
    .option('--product <module>', 'run a product: a path that begins with . or /, or a package')
    .option('--base-port <port>', 'TLS port of node 1, counting up', wholeNumber, 7401)
    .option('--product-port <port>', 'product port of node 1, counting up', wholeNumber, 7379)
    .addOption(
      new Option('--ports <how>', 'consecutive ports, or free ones that are then kept')
        .choices(['consecutive', 'auto'])
        .default('consecutive'),
    )
    .option('--unencrypted', 'a new cluster keeps its data in the clear, for development')
    .option('--no-restart', 'leave dead nodes dead')
    .option(
      '--leases <ms>',
      'how long a confirmed leader serves reads alone: 0 for never, at most 189',
      wholeNumber,
      0,
    )
    .option(
      '--snapshot-log-mib <mib>',
      'take a snapshot of a replica whose log has grown by so many MiB: 512 unless given',
      positiveNumber,
    )
    .option('--json', 'one JSON line per event')
    .action((options: UpOptions & JsonOption) =>
      run(options.json === true, (output) => runUp(options, output)),
    );
}

function addProcessCommands(root: Command): void {
  withKeyOptions(root.command('init'))
    .description(
      "create this node's replicas in its data directory, from a plan that all members share",
    )
    .requiredOption('--config <file>', 'configuration of the node')
    .requiredOption(
      '--plan <file>',
      'plan of the partitions; written when it does not exist and --voters is given',
    )
    .option('--voters <list>', 'voters of a new plan: 1=host:port,2=host:port,…')
    .option('--partitions <count>', 'partitions of a new plan', wholeNumber, 1)
    .option('--json', 'one JSON line instead of text')
    .action((options: InitOptions & JsonOption) =>
      run(options.json === true, (output) => runInit(options, output)),
    );
  withKeyOptions(root.command('node'))
    .description('run one node')
    .requiredOption('--config <file>', 'configuration of the node')
    .option('--stop-with-parent', 'stop when standard input ends')
    .addOption(
      new Option(
        '--kill-after <chain:step>',
        'for tests: SIGKILL itself after a step of a chain of writes',
      ).hideHelp(),
    )
    .option('--json', 'JSON lines instead of text')
    .action((options: NodeCommandOptions & JsonOption) =>
      run(options.json === true, (output) => runNode(options, output)),
    );
}

function addInspectionCommands(root: Command): void {
  withKeyOptions(root.command('doctor'))
    .description('look for what would stop a node: disk, lock, ports, certificates, keys, machine')
    .argument(
      '[path]',
      'folder of a cluster or node, configuration of a node, or a data directory',
      '.clustor',
    )
    .option('--json', 'one JSON line instead of text')
    .action((path: string, options: KeyOptions & JsonOption) =>
      run(options.json === true, (output) => runDoctor(path, output, options)),
    );
}

function addClientCommands(root: Command): void {
  withConnection(root.command('status').description('show nodes and partitions')).action(
    (options: ConnectionOptions & JsonOption) =>
      run(options.json === true, (output) => runStatus(options, output)),
  );
  withConnection(
    root
      .command('append')
      .description('append one entry')
      .argument('[data]', 'its bytes as text; standard input without it'),
  )
    .option('--partition <id>', 'which partition; needed when there are several')
    .option('--key <text>', 'idempotency key: the same key has one effect')
    .option('--deadline-ms <ms>', 'give up after', wholeNumber, 10_000)
    .action((data: string | undefined, options: AppendCommandOptions & JsonOption) =>
      run(options.json === true, (output) => runAppend(data, options, output)),
    );
  withConnection(
    root
      .command('read')
      .description('ask the state machine')
      .argument('[query]', 'its bytes as text'),
  )
    .option('--partition <id>', 'which partition; needed when there are several')
    .option(
      '--snapshot-only',
      'ask any replica for what it has applied instead of a linearizable read',
    )
    .option('--deadline-ms <ms>', 'give up after', wholeNumber, 10_000)
    .action((query: string | undefined, options: ReadCommandOptions & JsonOption) =>
      run(options.json === true, (output) => runRead(query, options, output)),
    );
  withConnection(root.command('why').description('ask a node why it is as it is'))
    .addArgument(new Command().createArgument('<what>', 'what to explain').choices([...whyKinds]))
    .requiredOption('--node <id>', 'which node', wholeNumber)
    .option('--partition <id>', 'which partition; needed when there are several')
    .action(
      (
        kind: (typeof whyKinds)[number],
        options: ConnectionOptions &
          JsonOption & { readonly node: number; readonly partition?: string },
      ) => run(options.json === true, (output) => runWhy(kind, options, output)),
    );
  addQuarantineCommand(root, { run, withConnection, wholeNumber });
}

function addSimulatorCommands(root: Command): void {
  const sim = root.command('sim').description('run simulated clusters');
  sim
    .command('run')
    .description('run your state machine under faults and say what is wrong with it')
    .requiredOption('--module <file>', 'exports createStateMachine and workload')
    .option('--seeds <count>', 'how many runs at most', positiveNumber, 50)
    .option('--no-shrink', 'do not look for the fewest faults of a run that fails')
    .option('--json', 'one JSON line instead of text')
    .action((options: SimRunCommandOptions & JsonOption) =>
      runAndExit(options.json === true, async (output) => {
        // The simulator is a whole second product: only these commands load it.
        const { runSimSeeds } = await import('./sim-run-command.ts');
        return runSimSeeds(options, output);
      }),
    );
  sim
    .command('report')
    .description('run one seed and write a picture of it, an HTML file that needs nothing else')
    .requiredOption(
      '--seed <number>',
      'which run: everything in it follows from it',
      positiveNumber,
    )
    .option('-o, --output <file>', 'where it is written (default: run-<seed>.html)')
    .option('--module <file>', 'your state machine and workload, as for sim run')
    .option('--faults-max <count>', 'only the first faults of the plan happen', wholeNumber)
    .option(
      '--faults-kept <positions>',
      'only these faults happen, such as 0,4; or none',
      positions,
    )
    .option('--json', 'one JSON line instead of text')
    .action((options: SimReportOptions & JsonOption) =>
      runAndExit(options.json === true, async (output) => {
        const { runSimReport } = await import('./sim-report-command.ts');
        return runSimReport(options, output);
      }),
    );
}

function packageVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { readonly version: string }).version;
}

outliveReaders();
try {
  await program().parseAsync();
} catch (error) {
  if (!(error instanceof CommanderError)) throw error;
  process.exitCode = error.exitCode === 0 ? exitCodes.done : exitCodes.usage;
  if (error.exitCode !== 0 && isJsonAsked(process.argv))
    createOutput(true).error(usageError(error));
}
