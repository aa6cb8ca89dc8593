/** The ledger files of a data directory, flush by flush and record by record. */
import { ClustorError } from '../base/errors.ts';
import { readLedgerFileHeader, ledgerBlockBytes } from '../codec/ledger-format.ts';
import type { FileSystem } from '../ports/file-system.ts';
import { ledgerFileName, spareFileName } from './durability-ledger.ts';
import { readLedgerFile, replayLedgerBytes, type ReplayedFlush } from './ledger-replay.ts';
import { readRegistry, registryPath } from './node-registry.ts';
import { walFolder } from './recovery.ts';

/** One generation's file. */
export interface ListedGeneration {
  readonly file: string;
  /** `inUse` decides; the one before is kept until its file is needed again. */
  readonly role: 'inUse' | 'before';
  readonly generation: number;
  /** Good copies of the file's header, of two. */
  readonly headerCopies: number;
  readonly flushes: readonly ReplayedFlush[];
  readonly isTornFlushCut: boolean;
  readonly fault: string | undefined;
}

/** Lists the generations, the one in use first. @throws ClustorError `CLUSTOR_NOT_INITIALIZED`. */
export async function listLedger(
  fileSystem: FileSystem,
  directory: string,
): Promise<readonly ListedGeneration[]> {
  const registry = await readRegistry(fileSystem, directory);
  if (registry === undefined)
    throw new ClustorError('CLUSTOR_NOT_INITIALIZED', `there is no ${registryPath(directory)}`);
  const folder = walFolder(directory);
  const names = await fileSystem.listDirectory(folder);
  const { clusterId, nodeId } = registry;
  const generations: ListedGeneration[] = [];
  for (const file of [ledgerFileName, spareFileName]) {
    if (!names.includes(file)) continue;
    const bytes = await readLedgerFile(fileSystem, `${folder}/${file}`);
    const flushes: ReplayedFlush[] = [];
    const onFlush = (flush: ReplayedFlush): void => {
      flushes.push(flush);
    };
    const replay = replayLedgerBytes(bytes, { clusterId, nodeId, onFlush });
    const headers = [0, ledgerBlockBytes].map((offset) => readLedgerFileHeader(bytes, offset));
    generations.push({
      file,
      role: file === ledgerFileName ? 'inUse' : 'before',
      generation: replay.generation,
      headerCopies: headers.filter((header) => header !== undefined).length,
      flushes,
      isTornFlushCut: replay.isTornFlushCut,
      fault: replay.fault,
    });
  }
  if (generations[0]?.role !== 'inUse')
    throw new ClustorError(
      'CLUSTOR_REPLICA_FILES_MISSING',
      `there is no ${folder}/${ledgerFileName}`,
    );
  return generations;
}
