/** `clustor wal verify`, `wal dump`, `wal salvage` and `ledger show`: a data directory's journal and ledger, without a node. */
import { ClustorError } from '../base/errors.ts';
import { logIndex, type PartitionId } from '../base/ids.ts';
import type { IndexRange } from '../base/index-ranges.ts';
import type { LedgerRecord } from '../codec/ledger-records.ts';
import { nodeCryptography } from '../security/node-cryptography.ts';
import { dumpEntries, type DumpedEntry } from '../storage/dump-entries.ts';
import { listLedger, type ListedGeneration } from '../storage/ledger-listing.ts';
import { listSalvage, type SavedStretch } from '../storage/salvage-listing.ts';
import { verifyDirectory, type DirectoryVerification } from '../storage/verify-directory.ts';
import type { VerifiedSnapshot } from '../storage/verify-snapshots.ts';
import { colours } from './colours.ts';
import { exitCodes } from './exit-codes.ts';
import type { KeyOptions } from './key-options.ts';
import { asReadText, partitionOf, withOfflineDirectory } from './offline-directory.ts';
import { isReaderGone, tableText, type Output } from './output.ts';

/** Findings shown to people; `--json` has them all. */
const findingsShown = 50;

/** Verifies a whole journal against its ledger; the exit code tells whether something covered is damaged. */
export function runWalVerify(
  directory: string,
  options: KeyOptions,
  output: Output,
): Promise<number> {
  return withOfflineDirectory({ directory, options }, async (opened) => {
    const { directory: path, usedByPid } = opened;
    let verified = await verifyDirectory(opened, nodeCryptography);
    // A node that runs gives segments and snapshots back while they are read: a second look tells that from damage.
    if (usedByPid !== undefined && verified.isDamaged)
      verified = await verifyDirectory(opened, nodeCryptography);
    if (usedByPid !== undefined) output.note(colours.yellow(asReadText(opened)));
    output.result({ directory: path, usedByPid, ...verified }, verificationText(verified));
    return verified.isDamaged ? exitCodes.failed : exitCodes.done;
  });
}

/** Options of `wal dump`. */
export interface DumpOptions extends KeyOptions {
  readonly partition?: string;
  readonly from: number;
  readonly to?: number;
}

/** Ends a dump that nobody reads any more. */
class ReaderGone extends Error {
  override readonly name: string = 'ReaderGone';
}

/** Prints the live entries of a partition as JSON lines, as long as somebody reads them. */
export function runWalDump(
  directory: string,
  options: DumpOptions,
  output: Output,
): Promise<number> {
  return withOfflineDirectory({ directory, options }, async (opened) => {
    const partitionId = await partitionOf(opened, options.partition);
    const isHosted = await dumpEntries(opened, {
      partitionId,
      firstIndex: logIndex(options.from),
      lastIndex: logIndex(options.to ?? Number.MAX_SAFE_INTEGER),
      onEntry: (entry) => {
        if (isReaderGone()) throw new ReaderGone();
        const line = entryLine(partitionId, entry);
        output.result(line, JSON.stringify(line));
      },
    }).catch((error: unknown) => {
      if (error instanceof ReaderGone) return true;
      throw error;
    });
    if (!isHosted)
      throw new ClustorError(
        'CLUSTOR_UNKNOWN_PARTITION',
        `${opened.directory} hosts no replica of partition ${partitionId}`,
      );
    return exitCodes.done;
  });
}

/** Options of `wal salvage`. */
export interface SalvageOptions extends KeyOptions {
  readonly partition?: string;
  readonly entries?: boolean;
}

/** Shows what was saved of segments for a partition in quarantine, or prints the entries in it as JSON lines. */
export function runWalSalvage(
  directory: string,
  options: SalvageOptions,
  output: Output,
): Promise<number> {
  return withOfflineDirectory({ directory, options }, async (opened) => {
    const partitionId = await partitionOf(opened, options.partition);
    const printEntry = (entry: DumpedEntry, isLacked: boolean): void => {
      const { isCovered: _, ...line } = entryLine(partitionId, entry);
      output.result({ ...line, isLacked }, JSON.stringify({ ...line, isLacked }));
    };
    const stretches = await listSalvage(opened, {
      partitionId,
      ...(options.entries === true ? { onEntry: printEntry } : {}),
    });
    if (opened.usedByPid !== undefined) output.note(colours.yellow(asReadText(opened)));
    for (const { segmentSeq, firstBlock, fault } of stretches)
      if (fault !== undefined)
        output.note(colours.red(`segment ${segmentSeq} from block ${firstBlock} on: ${fault}`));
    if (options.entries !== true)
      output.result(
        { directory: opened.directory, usedByPid: opened.usedByPid, partitionId, stretches },
        stretches.length === 0
          ? `nothing was saved for partition ${partitionId}`
          : salvageText(stretches),
      );
    return stretches.some(({ fault }) => fault !== undefined) ? exitCodes.failed : exitCodes.done;
  });
}

/** Shows the ledger's generations, flushes and records; the exit code tells whether evidence is missing. */
export function runLedgerShow(
  directory: string,
  options: KeyOptions,
  output: Output,
): Promise<number> {
  return withOfflineDirectory({ directory, options }, async (opened) => {
    let generations = await listLedger(opened);
    // A flush that is written while it is read looks like one that was lost: a second look tells.
    if (opened.usedByPid !== undefined && hasFault(generations))
      generations = await listLedger(opened);
    if (opened.usedByPid !== undefined) output.note(colours.yellow(asReadText(opened)));
    output.result(
      { directory: opened.directory, usedByPid: opened.usedByPid, generations },
      generations.map(generationText).join('\n\n'),
    );
    return hasFault(generations) ? exitCodes.failed : exitCodes.done;
  });
}

function salvageText(stretches: readonly SavedStretch[]): string {
  return tableText(
    ['segment', 'blocks', 'damaged', 'whole entries', 'of these lacked'],
    stretches.map((row) => [
      row.segmentSeq,
      `${row.firstBlock}–${row.lastBlock}`,
      row.damagedBlocks === 0 ? 0 : colours.red(`${row.damagedBlocks}`),
      row.entries.map(rangeText).join(' '),
      row.lacked.map(rangeText).join(' '),
    ]),
  );
}

function hasFault(generations: readonly ListedGeneration[]): boolean {
  return generations.some(({ role, fault }) => role === 'inUse' && fault !== undefined);
}

function verificationText(verified: DirectoryVerification): string {
  const { flushes, segments, blocks, frames, leaves, trailers, snapshots, findings } = verified;
  const shown = findings.slice(0, findingsShown);
  return [
    `node ${verified.nodeId} of cluster ${verified.clusterId}: ${verified.isDamaged ? colours.red('damaged') : colours.green('whole')}`,
    `read ${flushes} ledger flushes, ${segments} segments, ${blocks} blocks, ${frames} frames, ${leaves} leaves, ${trailers} trailers; ${snapshots} good snapshots`,
    tableText(
      [
        'partition',
        'begins behind',
        'entries',
        'from',
        'to',
        'covered to',
        'snapshots',
        'missing',
        'doubt',
        'quarantined',
      ],
      verified.partitions.map((row) => [
        row.partitionId,
        row.baseIndex,
        row.entries,
        row.entries === 0 ? '–' : row.firstIndex,
        row.entries === 0 ? '–' : row.lastIndex,
        row.coveredIndex,
        row.snapshots.map(snapshotText).join(' '),
        row.missing.map(rangeText).join(' '),
        row.doubt ?? '',
        (row.quarantined ?? []).map(rangeText).join(' '),
      ]),
    ),
    ...(shown.length === 0
      ? []
      : [
          tableText(
            ['finding', 'where', 'what'],
            shown.map(({ severity, where, what }) => [
              severity === 'damage' ? colours.red(severity) : severity,
              where,
              what,
            ]),
          ),
        ]),
    ...(findings.length > shown.length
      ? [`and ${findings.length - shown.length} more; --json shows them`]
      : []),
  ].join('\n');
}

function generationText(listed: ListedGeneration): string {
  const { generation, file, role, headerCopies, flushes, fault } = listed;
  return [
    `generation ${generation} (${file}, ${role === 'inUse' ? 'in use' : 'the one before'}), ${headerCopies} of 2 headers good${listed.isTornFlushCut ? ', a torn flush at its end' : ''}`,
    ...(fault === undefined ? [] : [colours.red(`fault: ${fault}`)]),
    tableText(
      ['flush', 'knew synced', 'at', 'copies', 'covers', 'mode', 'records'],
      flushes.map(({ flush, offset, copies }) => [
        flush.flushSeq,
        flush.syncedFlushSeq,
        offset,
        copies === 'both' ? copies : colours.yellow(copies),
        `${flush.segmentSeq}:${flush.endOffset}`,
        flush.ioWriterMode,
        flush.records.map(recordText).join('\n'),
      ]),
    ),
  ].join('\n');
}

function recordText(record: LedgerRecord): string {
  const fields = Object.entries(record)
    .filter(([name]) => name !== 'kind')
    .map(([name, value]) => `${name}=${typeof value === 'object' ? JSON.stringify(value) : value}`);
  return `${record.kind} ${fields.join(' ')}`;
}

function entryLine(partitionId: PartitionId, entry: DumpedEntry): Record<string, unknown> {
  const { metadata, payload, leaf } = entry;
  const { clientKey, opaqueKey } = metadata;
  return {
    partitionId,
    index: entry.index,
    term: entry.term,
    kind: entry.kind,
    // Below zero stands for an entry without a time.
    ingestMs: Math.max(0, metadata.ingestMs),
    clientId: clientKey === undefined ? undefined : hexOf(Buffer.from(clientKey, 'latin1')),
    sequence: clientKey === undefined ? undefined : metadata.sequence,
    key: opaqueKey === undefined ? undefined : Buffer.from(opaqueKey, 'latin1').toString('utf8'),
    payloadBytes: payload.length,
    payload: Buffer.from(payload).toString('base64'),
    segmentSeq: entry.segmentSeq,
    block: entry.block,
    offset: entry.offset,
    crc: entry.crc.toString(16).padStart(8, '0'),
    ...(leaf === undefined ? {} : { leaf: hexOf(leaf), leafHash: entry.leafHash }),
    isCovered: entry.isCovered,
  };
}

function snapshotText({ index, term, fault }: VerifiedSnapshot): string {
  return fault === undefined ? `${term}-${index}` : colours.red(`${term}-${index} bad`);
}

function rangeText({ firstIndex, lastIndex }: IndexRange): string {
  return `${firstIndex}–${lastIndex}`;
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
