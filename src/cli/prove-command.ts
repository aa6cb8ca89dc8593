/** `clustor prove`: from the data directories of replicas, whether an entry is on a quorum's stable storage, and why. */
import { readFile } from 'node:fs/promises';
import { unreachable } from '../base/assert.ts';
import { ClustorError, messageOf } from '../base/errors.ts';
import { logIndex, type LogIndex, type PartitionId } from '../base/ids.ts';
import { configurationsInForce, proveEntry, type ProofVerdict } from '../policy/entry-proof.ts';
import { nodeCryptography } from '../security/node-cryptography.ts';
import {
  gatherEvidence,
  syncBeforeReading,
  type DirectoryEvidence,
  type EntryFinding,
} from '../storage/entry-evidence.ts';
import { colours } from './colours.ts';
import { exitCodes } from './exit-codes.ts';
import type { KeyOptions } from './key-options.ts';
import { asReadText, partitionOf, withOfflineDirectory } from './offline-directory.ts';
import { tableText, type Output } from './output.ts';

/** Options of `prove`. */
export interface ProveOptions extends KeyOptions {
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
/** Entries without proof that people are shown. */
const rowsShown = 20;

interface ReadDirectory {
  readonly path: string;
  readonly usedByPid: number | undefined;
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
};

/** Proves entries; the exit code is 1 when one of them cannot be proven. */
export async function runProve(
  paths: readonly string[],
  options: ProveOptions,
  output: Output,
): Promise<number> {
  const indexes = await indexesOf(options);
  const { partitionId, directories } = await readDirectories(paths, { options, indexes, output });
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
    directories: directories.map(({ path, usedByPid, evidence }) => ({
      directory: path,
      usedByPid,
      nodeId: evidence.nodeId,
      ...evidence.replica,
      baseIndex: evidence.baseIndex,
      doubt: evidence.doubt,
    })),
  };
  output.result(summary, proofText(entries, notProven));
  return notProven.length === 0 ? exitCodes.done : exitCodes.failed;
}

async function readDirectories(
  paths: readonly string[],
  asked: {
    readonly options: ProveOptions;
    readonly indexes: ReadonlySet<LogIndex>;
    readonly output: Output;
  },
): Promise<{ readonly partitionId: PartitionId; readonly directories: readonly ReadDirectory[] }> {
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
      const evidence = await gatherEvidence(opened, {
        partitionId,
        indexes: asked.indexes,
        cryptography: nodeCryptography,
      });
      directories.push({ path, usedByPid, evidence });
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
  const rows = directories.flatMap(({ path, usedByPid, evidence }) => {
    const finding = evidence.findings.get(index);
    return finding === undefined ? [] : [{ directory: path, usedByPid, evidence, finding }];
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
    directories: rows.map(({ directory, usedByPid, finding }) => ({
      directory,
      usedByPid,
      ...finding,
    })),
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
        `${row.directory}${row.usedByPid === undefined ? '' : ' (in use, as read)'}`,
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
