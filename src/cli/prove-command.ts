/**
 * `clustor prove`: from the data directories of replicas, or from what running nodes say of their own ones, whether an entry is on a
 * quorum's stable storage, and why.
 */
import { readFile } from 'node:fs/promises';
import type { AdminClient } from '../admin/admin-client.ts';
import { evidenceOf } from '../admin/evidence-message.ts';
import { present, unreachable } from '../base/assert.ts';
import { ClustorError, isClustorError, messageOf } from '../base/errors.ts';
import {
  logIndex,
  partitionId as partitionIdOf,
  type LogIndex,
  type PartitionId,
} from '../base/ids.ts';
import { configurationsInForce, proveEntry, type ProofVerdict } from '../policy/entry-proof.ts';
import { evidenceIndexesMax } from '../runtime/evidence-desk.ts';
import { nodeCryptography } from '../security/node-cryptography.ts';
import {
  gatherEvidence,
  gatherWhileUsed,
  syncBeforeReading,
  type DirectoryEvidence,
  type EntryFinding,
} from '../storage/entry-evidence.ts';
import { colours } from './colours.ts';
import type { ConnectionOptions } from './connection.ts';
import { eachNode } from './each-node.ts';
import { exitCodes } from './exit-codes.ts';
import { isKeyNamed, type KeyOptions } from './key-options.ts';
import { asReadText, partitionOf, withOfflineDirectory } from './offline-directory.ts';
import { tableText, type Output } from './output.ts';

/** Options of `prove`. */
export interface ProveOptions extends KeyOptions, Partial<ConnectionOptions> {
  readonly partition?: string;
  readonly index?: number;
  readonly from?: number;
  readonly to?: number;
  readonly indexesFrom?: string;
  /** Files of the KEKs where nodes have their own: as many as directories, separated by commas. */
  readonly kekFiles?: string;
}

/** Entries asked about at once; each costs memory. */
const indexesMax = 1_000_000;
/** The same of nodes that run. */
const indexesAskedMax = 100_000;
/** Entries without proof that people are shown. */
const rowsShown = 20;

interface ReadDirectory {
  /** Its path, or which running node read its own one. */
  readonly path: string;
  readonly usedByPid: number | undefined;
  /** The running node that read it. */
  readonly readByNode: number | undefined;
  readonly evidence: DirectoryEvidence;
}

interface ProvenEntry {
  readonly index: LogIndex;
  readonly verdict: ProofVerdict;
  readonly isKnownCommitted: boolean;
  readonly directories: readonly ProvenDirectory[];
}

/** What a directory says of an entry; of one in use, whose: it was read as it stood then, and synced before. */
type ProvenDirectory = EntryFinding & {
  readonly directory: string;
  readonly usedByPid: number | undefined;
  readonly readByNode: number | undefined;
};

/** Proves entries; the exit code is 1 when one of them cannot be proven. */
export async function runProve(
  paths: readonly string[],
  options: ProveOptions,
  output: Output,
): Promise<number> {
  demandOneSource(paths, options);
  const indexes = await indexesOf(options);
  const read = paths.length === 0 ? askNodes : readDirectories;
  const { partitionId, directories } = await read(paths, { options, indexes, output });
  const configurations = directories.flatMap(({ evidence }) => evidence.configurations);
  const commitIndex = logIndex(Math.max(0, ...directories.map((row) => row.evidence.commitIndex)));
  const entries = [...indexes].map((index) =>
    provenEntry(index, { directories, configurations, commitIndex }),
  );
  const notProven = entries.filter(({ verdict }) => verdict.kind === 'notProvable');
  if (output.isJson) for (const entry of entries) output.result(entry, '');
  const summary = {
    partitionId,
    asked: entries.length,
    proven: entries.length - notProven.length,
    commitIndex,
    configurations: configurationsInForce(configurations, commitIndex),
    directories: directories.map(({ path, usedByPid, readByNode, evidence }) => ({
      directory: path,
      usedByPid,
      readByNode,
      nodeId: evidence.nodeId,
      ...evidence.replica,
      baseIndex: evidence.baseIndex,
      doubt: evidence.doubt,
    })),
  };
  output.result(summary, proofText(entries, notProven));
  return notProven.length === 0 ? exitCodes.done : exitCodes.failed;
}

/** @throws ClustorError `CLUSTOR_INVALID_ARGUMENT` for options that nothing would read. */
function demandOneSource(paths: readonly string[], options: ProveOptions): void {
  const { addresses, certificate, privateKey, trustBundle } = options;
  const connection = [addresses, certificate, privateKey, trustBundle];
  if (paths.length > 0 && connection.some((given) => given !== undefined))
    throw new ClustorError(
      'CLUSTOR_INVALID_ARGUMENT',
      'name data directories, or running nodes with --addresses, not both',
    );
  if (paths.length === 0 && (options.kekFiles !== undefined || isKeyNamed(options)))
    throw new ClustorError(
      'CLUSTOR_INVALID_ARGUMENT',
      'keys go with data directories; running nodes have their own',
    );
}

interface Asked {
  readonly options: ProveOptions;
  readonly indexes: ReadonlySet<LogIndex>;
  readonly output: Output;
}

interface Evidence {
  readonly partitionId: PartitionId;
  readonly directories: readonly ReadDirectory[];
}

/** Has every node that answers read its own directory; what one that does not answer would say is no evidence. */
async function askNodes(_: readonly string[], asked: Asked): Promise<Evidence> {
  const { options, output } = asked;
  if (asked.indexes.size > indexesAskedMax)
    throw new ClustorError(
      'CLUSTOR_INVALID_ARGUMENT',
      `running nodes are asked about ${indexesAskedMax} entries at most; name fewer, or the directories of stopped nodes`,
    );
  const directories: ReadDirectory[] = [];
  let partitionId: PartitionId | undefined;
  await eachNode({ ...options, dir: options.dir ?? '.clustor' }, async ({ nodeId, admin }) => {
    try {
      const asking = await partitionAmong(admin, partitionId ?? options.partition);
      if (asking === undefined) return;
      partitionId = asking;
      const evidence = await evidenceOfNode(admin, { partitionId, indexes: [...asked.indexes] });
      const path = `node ${nodeId}`;
      directories.push({ path, usedByPid: undefined, readByNode: nodeId, evidence });
    } catch (error) {
      if (!isClustorError(error) || error.code === 'CLUSTOR_INVALID_ARGUMENT') throw error;
      output.note(colours.yellow(`node ${nodeId} is no evidence: ${error.message}`));
    }
  });
  if (partitionId === undefined || directories.length === 0)
    throw new ClustorError(
      'CLUSTOR_NO_LEADER',
      'no node answers; name the data directories of stopped nodes instead',
    );
  return { partitionId, directories };
}

/** Asks a node in as many parts as it takes; each of them reads its disk anew. */
async function evidenceOfNode(
  admin: AdminClient,
  { partitionId, indexes }: { readonly partitionId: PartitionId; readonly indexes: LogIndex[] },
): Promise<DirectoryEvidence> {
  const findings = new Map<LogIndex, EntryFinding>();
  let newest: DirectoryEvidence | undefined;
  for (let at = 0; at < indexes.length; at += evidenceIndexesMax) {
    const part = indexes.slice(at, at + evidenceIndexesMax).map(BigInt);
    newest = evidenceOf(await admin.gatherEvidence({ partitionId, indexes: part }));
    for (const [index, finding] of newest.findings) findings.set(index, finding);
  }
  return { ...present(newest, 'some entry is asked about'), findings };
}

/** The partition that is named, or the only one that a node hosts; none where it hosts none. @throws ClustorError `CLUSTOR_INVALID_ARGUMENT`. */
async function partitionAmong(
  admin: AdminClient,
  named: string | undefined,
): Promise<PartitionId | undefined> {
  if (named !== undefined) return partitionIdOf(named);
  const hosted = await admin.listPartitions();
  const [first] = hosted;
  if (first === undefined) return undefined;
  if (hosted.length > 1)
    throw new ClustorError(
      'CLUSTOR_INVALID_ARGUMENT',
      `there are ${hosted.length} partitions; name one with --partition, such as ${first.partitionId}`,
    );
  return partitionIdOf(first.partitionId);
}

async function readDirectories(paths: readonly string[], asked: Asked): Promise<Evidence> {
  const directories: ReadDirectory[] = [];
  let partitionId: PartitionId | undefined;
  // One after the other: each may hold a large part of memory while it is read.
  const keyFiles = keyFilesOf(asked.options, paths.length);
  for (const [at, directory] of paths.entries()) {
    const options = keyFiles === undefined ? asked.options : { kekFile: keyFiles[at] ?? '' };
    await withOfflineDirectory({ directory, options }, async (opened) => {
      const { fileSystem, directory: path, usedByPid } = opened;
      if (usedByPid !== undefined) asked.output.note(colours.yellow(asReadText(opened)));
      partitionId ??= await partitionOf(opened, asked.options.partition);
      await syncBeforeReading(fileSystem, path);
      const gather = usedByPid === undefined ? gatherEvidence : gatherWhileUsed;
      const evidence = await gather(opened, {
        partitionId,
        indexes: asked.indexes,
        cryptography: nodeCryptography,
      });
      directories.push({ path, usedByPid, readByNode: undefined, evidence });
    });
  }
  const clusters = new Set(directories.map(({ evidence }) => evidence.clusterId));
  if (clusters.size > 1)
    throw new ClustorError(
      'CLUSTOR_WRONG_DATA_DIRECTORY',
      `the directories belong to ${clusters.size} clusters: ${[...clusters].join(', ')}`,
    );
  if (partitionId === undefined)
    throw new ClustorError('CLUSTOR_INVALID_ARGUMENT', 'no data directory was named');
  return { partitionId, directories };
}

/** One file of a KEK for each directory. @throws ClustorError `CLUSTOR_INVALID_ARGUMENT`. */
function keyFilesOf({ kekFiles }: ProveOptions, count: number): readonly string[] | undefined {
  const files = kekFiles?.split(',');
  if (files !== undefined && files.length !== count)
    throw new ClustorError(
      'CLUSTOR_INVALID_ARGUMENT',
      `--kek-files names ${files.length} files for ${count} directories`,
    );
  return files;
}

function provenEntry(
  index: LogIndex,
  {
    directories,
    configurations,
    commitIndex,
  }: {
    readonly directories: readonly ReadDirectory[];
    readonly configurations: DirectoryEvidence['configurations'];
    readonly commitIndex: LogIndex;
  },
): ProvenEntry {
  const rows = directories.flatMap(({ path, usedByPid, readByNode, evidence }) => {
    const finding = evidence.findings.get(index);
    const read = { directory: path, usedByPid, readByNode };
    return finding === undefined ? [] : [{ read, evidence, finding }];
  });
  const copies = rows.flatMap(({ evidence, finding }) =>
    finding.kind === 'held' && evidence.replica !== undefined
      ? [
          {
            ...evidence.replica,
            term: finding.term,
            crc: finding.crc,
            commitIndex: evidence.commitIndex,
            terms: evidence.terms,
          },
        ]
      : [],
  );
  const snapshots = rows.flatMap(({ evidence: { replica }, finding }) =>
    finding.kind === 'inSnapshot' && replica !== undefined ? [replica] : [],
  );
  const committed = directories.flatMap(({ evidence }) => evidence.committed);
  return {
    index,
    verdict: proveEntry({ index, copies, snapshots, committed, configurations, commitIndex }),
    isKnownCommitted: index <= commitIndex,
    directories: rows.map(({ read, finding }) => ({ ...read, ...finding })),
  };
}

/** The entries asked about. @throws ClustorError `CLUSTOR_INVALID_ARGUMENT`. */
async function indexesOf(options: ProveOptions): Promise<ReadonlySet<LogIndex>> {
  const { index, from, to, indexesFrom } = options;
  const indexes = new Set<LogIndex>();
  const add = (value: number): void => {
    if (!Number.isSafeInteger(value) || value < 1)
      throw new ClustorError('CLUSTOR_INVALID_ARGUMENT', `${value} is no index; they begin at 1`);
    indexes.add(logIndex(value));
    if (indexes.size > indexesMax)
      throw new ClustorError(
        'CLUSTOR_INVALID_ARGUMENT',
        `at most ${indexesMax} entries are proven at once`,
      );
  };
  if (index !== undefined) add(index);
  if ((from === undefined) !== (to === undefined))
    throw new ClustorError('CLUSTOR_INVALID_ARGUMENT', '--from and --to belong together');
  if (from !== undefined && to !== undefined && to < from)
    throw new ClustorError('CLUSTOR_INVALID_ARGUMENT', `--to ${to} comes before --from ${from}`);
  if (from !== undefined && to !== undefined) for (let at = from; at <= to; at++) add(at);
  if (indexesFrom !== undefined)
    for (const word of (await indexesText(indexesFrom)).split(/\s+/))
      if (word !== '') add(Number(word));
  if (indexes.size === 0)
    throw new ClustorError(
      'CLUSTOR_INVALID_ARGUMENT',
      'name entries with --index, with --from and --to, or with --indexes-from',
    );
  return indexes;
}

async function indexesText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new ClustorError(
      'CLUSTOR_INVALID_ARGUMENT',
      `the indexes in ${path} cannot be read: ${messageOf(error)}`,
      { cause: error },
    );
  }
}

function proofText(entries: readonly ProvenEntry[], notProven: readonly ProvenEntry[]): string {
  const [only] = entries;
  if (only !== undefined && entries.length === 1) return entryText(only);
  const proven = entries.length - notProven.length;
  const lines = [
    `${proven} of ${entries.length} entries are proven to be on a quorum's stable storage`,
  ];
  for (const { index, verdict } of notProven.slice(0, rowsShown))
    if (verdict.kind === 'notProvable')
      lines.push(`${colours.red('not provable')} entry ${index}: ${verdict.reason}`);
  if (notProven.length > rowsShown) lines.push(`and ${notProven.length - rowsShown} more`);
  return lines.join('\n');
}

function entryText({ index, verdict, isKnownCommitted, directories }: ProvenEntry): string {
  return [
    `entry ${index}: ${verdictText(verdict)}`,
    isKnownCommitted ? 'a ledger records it as committed' : 'no ledger records it as committed yet',
    tableText(
      ['directory', 'journal', 'frame', 'ledger', 'record'],
      directories.map((row) => [
        `${row.directory}${(row.usedByPid ?? row.readByNode) === undefined ? '' : ' (in use, as read)'}`,
        ...findingCells(row),
      ]),
    ),
  ].join('\n');
}

function verdictText(verdict: ProofVerdict): string {
  if (verdict.kind === 'notProvable') return `${colours.red('not provable')}: ${verdict.reason}`;
  const { term, inSnapshots } = verdict;
  const head = `${colours.green('proven')} to be on a quorum's stable storage`;
  const ofTerm = term === undefined ? '' : `, term ${term}`;
  return `${head}${ofTerm}${inSnapshots === 0 ? '' : `, ${inSnapshots} of them in snapshots`}`;
}

const segmentMacText = {
  good: 'MAC of the segment good',
  open: 'the segment is open and has no MAC yet',
  none: 'trailer good, no MAC without encryption',
  unchecked: 'MAC of the segment not checked',
} as const;

function findingCells(finding: EntryFinding): readonly string[] {
  switch (finding.kind) {
    case 'held': {
      const { segmentSeq, block, offset, term, crc, hasLeaf, segmentMac, ledger } = finding;
      return [
        `segment ${segmentSeq} block ${block} offset ${offset}, ${segmentMacText[segmentMac]}`,
        `term ${term} crc ${crc.toString(16).padStart(8, '0')}${hasLeaf ? ' leaf good' : ''}`,
        `flush ${ledger.flushSeq} of generation ${ledger.generation}, copies: ${ledger.copies}`,
        `durable to ${ledger.record.index}, commit ${ledger.record.commitIndex}`,
      ];
    }
    case 'inSnapshot': {
      const { base, snapshot } = finding;
      return [
        `snapshot ${snapshot.term}-${snapshot.index}`,
        `${snapshot.parts} parts good, manifest ${snapshot.contentHash}`,
        `flush ${base.flushSeq} of generation ${base.generation}`,
        `log begins behind ${base.index}`,
      ];
    }
    case 'notHeld':
      return [colours.red('not held'), finding.reason, '', ''];
    default:
      return unreachable(finding);
  }
}
