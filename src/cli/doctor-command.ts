/** `clustor doctor`: what would stop a node on this machine, in plain words, with a node running or without. */
import { stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { bytesText } from '../base/bytes.ts';
import { messageOf } from '../base/errors.ts';
import { diskOverrideOf, overrideFileName, wholeProbe } from '../platform/disk-admission.ts';
import { diskFactsOf } from '../platform/disk-facts.ts';
import { hostFindings, portFinding, processFinding } from '../platform/host-facts.ts';
import { certificateFinding } from '../platform/certificate-finding.ts';
import { openNodeFileSystem } from '../platform/node-file-system.ts';
import { writerFindings } from '../platform/writer-finding.ts';
import { judgeDiskHygiene, type DiskFinding } from '../policy/disk-hygiene.ts';
import { parseAddress } from '../runtime/node-address.ts';
import { readRegistry } from '../storage/node-registry.ts';
import { ClusterDirectory } from './cluster-directory.ts';
import { colours } from './colours.ts';
import { exitCodes } from './exit-codes.ts';
import { keyFinding } from './key-finding.ts';
import { isKeyNamed, type KeyOptions } from './key-options.ts';
import { readConfig, type NodeConfig } from './node-config.ts';
import { tableText, type Output } from './output.ts';

/** What was looked at, with what was found there. */
interface Section {
  readonly subject: string;
  readonly findings: readonly DiskFinding[];
}

/** A node to look at: all that is known may be its data directory. */
interface Patient {
  readonly name: string;
  readonly dataDirectory: string;
  readonly config: NodeConfig | undefined;
  /** Of the configuration. */
  readonly configPath: string;
}

/** Looks and says what it found; the exit code tells whether something would stop a node. */
export async function runDoctor(
  path: string,
  output: Output,
  keys: KeyOptions = {},
): Promise<number> {
  const sections: Section[] = [{ subject: 'this machine', findings: await hostFindings() }];
  for (const patient of await patientsOf(resolve(path)))
    sections.push({ subject: patient.name, findings: await findingsOf(patient, keys) });
  const isWell = !sections.some(({ findings }) => findings.some((row) => row.verdict === 'Reject'));
  output.result({ isWell, sections }, textOf(sections));
  return isWell ? exitCodes.done : exitCodes.failed;
}

/** Nodes of a cluster of `clustor up`, one node with its configuration or the `config.json` in its folder, or a bare data directory. */
async function patientsOf(directory: string): Promise<readonly Patient[]> {
  if (await isFile(directory)) return [await patientOf(directory, directory)];
  const local = new ClusterDirectory(directory);
  const cluster = await local.read();
  if (cluster !== undefined)
    return Promise.all(
      cluster.nodes.map(({ nodeId }) => patientOf(local.nodeConfigPath(nodeId), `node ${nodeId}`)),
    );
  const configPath = join(directory, 'config.json');
  if (await exists(configPath)) return [await patientOf(configPath, directory)];
  return [{ name: directory, dataDirectory: directory, config: undefined, configPath: '' }];
}

async function patientOf(configPath: string, name: string): Promise<Patient> {
  const config = await readConfig(configPath);
  return { name, dataDirectory: config.dataDirectory, config, configPath };
}

async function findingsOf(
  { dataDirectory, config, configPath }: Patient,
  options: KeyOptions,
): Promise<readonly DiskFinding[]> {
  if (!(await exists(dataDirectory)))
    return [
      {
        finding: 'NoDirectory',
        verdict: 'Reject',
        text: `there is no ${dataDirectory}`,
        advice: 'Name a directory that exists; `clustor init` and `clustor up` make one.',
      },
    ];
  const holder = await processFinding(dataDirectory);
  const findings = [holder, ...(await diskFindings(dataDirectory, config))];
  if (config === undefined) {
    if (isKeyNamed(options)) findings.push(await bareKeyFinding(dataDirectory, options));
    return findings;
  }
  findings.push(await certificateFinding(config.certificates, Date.now()));
  findings.push(await keyFinding(config, { path: configPath, options }));
  // The port of a node that runs is its own.
  if (holder.finding !== 'InUse') findings.push(await portFinding(parseAddress(config.listen)));
  return findings;
}

/** What `node.json` says; `undefined` without one. */
async function registryOf(dataDirectory: string): ReturnType<typeof readRegistry> {
  const fileSystem = await openNodeFileSystem({ mode: 'Blocking' });
  try {
    return await readRegistry(fileSystem, dataDirectory);
  } finally {
    await fileSystem.shutDown();
  }
}

/** Of a data directory without a configuration, whose registry says whose it is. */
async function bareKeyFinding(dataDirectory: string, options: KeyOptions): Promise<DiskFinding> {
  const registry = await registryOf(dataDirectory);
  if (registry === undefined)
    return {
      finding: 'Keys',
      verdict: 'Warn',
      text: 'there is nothing that the key could open',
      advice: 'Name the data directory of a node, or its configuration.',
    };
  const { clusterId, nodeId } = registry;
  return keyFinding({ clusterId, nodeId, dataDirectory }, { path: dataDirectory, options });
}

async function diskFindings(
  directory: string,
  config: NodeConfig | undefined,
): Promise<readonly DiskFinding[]> {
  const judgement = judgeDiskHygiene(await diskFactsOf(directory, wholeProbe));
  const override = await diskOverrideOf(directory, Date.now());
  const isAccepted = config?.development === true || override?.kind === 'valid';
  const found = judgement.findings.map((row): DiskFinding =>
    row.verdict === 'Reject' && isAccepted
      ? { ...row, verdict: 'Warn', text: `${row.text} (accepted here)` }
      : row.verdict === 'Reject'
        ? { ...row, advice: `${row.advice} Or record the decision in ${overrideFileName}.` }
        : row,
  );
  return [
    ...found,
    ...overrideFindings(override),
    ...(await writerFindings(directory)),
    await roomFinding(directory),
  ];
}

function overrideFindings(
  override: Awaited<ReturnType<typeof diskOverrideOf>>,
): readonly DiskFinding[] {
  if (override === undefined) return [];
  const advice = `Correct or remove ${overrideFileName}.`;
  if (override.kind === 'unreadable')
    return [
      {
        finding: 'Override',
        verdict: 'Warn',
        text: `${overrideFileName} does not count: ${override.reason}`,
        advice,
      },
    ];
  const { attestedBy, ticket, reason, expiresAtMs } = override.override;
  const until = new Date(expiresAtMs).toISOString();
  const text = `${attestedBy} accepted this disk (${ticket}: ${reason}) until ${until}`;
  return override.kind === 'valid'
    ? [{ finding: 'Override', verdict: 'Allow', text, advice: 'Move to a safe disk before then.' }]
    : [{ finding: 'Override', verdict: 'Warn', text: `${text}: that has passed`, advice }];
}

async function roomFinding(directory: string): Promise<DiskFinding> {
  const fileSystem = await openNodeFileSystem({ mode: 'Blocking' });
  try {
    const { freeBytes, totalBytes } = await fileSystem.space(directory);
    const text = `${bytesText(freeBytes)} of ${bytesText(totalBytes)} are free`;
    const isShort = freeBytes < totalBytes / 10;
    return isShort
      ? {
          finding: 'Room',
          verdict: 'Warn',
          text,
          advice: 'Make room: a node refuses writes before its disk is full.',
        }
      : { finding: 'Room', verdict: 'Allow', text, advice: 'Nothing to do.' };
  } finally {
    await fileSystem.shutDown();
  }
}

function textOf(sections: readonly Section[]): string {
  const marks = {
    Allow: colours.green('ok'),
    Warn: colours.yellow('look'),
    Reject: colours.red('stops'),
  };
  const parts = sections.map(({ subject, findings }) => {
    const rows = findings.map(({ verdict, text }) => [marks[verdict], text]);
    const steps = findings
      .filter((row) => row.verdict !== 'Allow')
      .map(({ text, advice }) => `  ${colours.bold('→')} ${text.split(':')[0] ?? text}: ${advice}`);
    return [colours.bold(subject), tableText(['', 'found'], rows), ...steps].join('\n');
  });
  const all = sections.flatMap(({ findings }) => findings);
  const stops = all.filter((row) => row.verdict === 'Reject').length;
  const looks = all.filter((row) => row.verdict === 'Warn').length;
  const end =
    stops > 0
      ? colours.red(`${stops} would stop a node`)
      : looks > 0
        ? colours.yellow(`nothing stops a node; ${looks} worth a look`)
        : colours.green('all is well');
  return `${parts.join('\n\n')}\n\n${end}`;
}

async function isFile(path: string): Promise<boolean> {
  return (await exists(path)) && (await stat(path)).isFile();
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (messageOf(error).includes('ENOENT')) return false;
    throw error;
  }
}
