/** The ledger files of a data directory, flush by flush and record by record. */
import { readLedgerFileHeader, ledgerBlockBytes } from '../codec/ledger-format.ts';
import { withOpened, type DirectoryPlace, type OpenedDirectory } from './journal-walk.ts';
import { ledgerFileName, spareFileName } from './durability-ledger.ts';
import { readLedgerFile, replayLedgerBytes, type ReplayedFlush } from './ledger-replay.ts';

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

/** Lists the generations, the one in use first. @throws ClustorError as {@link withOpened}. */
export function listLedger(place: DirectoryPlace): Promise<readonly ListedGeneration[]> {
  return withOpened(place, listOpened);
}

async function listOpened(opened: OpenedDirectory): Promise<readonly ListedGeneration[]> {
  const { fileSystem, folder, names } = opened;
  const generations = [await listed(opened, { file: ledgerFileName, role: 'inUse' })];
  if (!names.includes(spareFileName)) return generations;
  const head = await readLedgerFile(fileSystem, `${folder}/${spareFileName}`);
  // A spare that was made ready afresh holds no generation.
  if (headerCopiesOf(head) > 0)
    generations.push(await listed(opened, { file: spareFileName, role: 'before' }));
  return generations;
}

async function listed(
  { fileSystem, folder, registry, keys }: OpenedDirectory,
  { file, role }: Pick<ListedGeneration, 'file' | 'role'>,
): Promise<ListedGeneration> {
  const { clusterId, nodeId } = registry;
  const bytes = await readLedgerFile(fileSystem, `${folder}/${file}`);
  const flushes: ReplayedFlush[] = [];
  const onFlush = (flush: ReplayedFlush): void => {
    flushes.push(flush);
  };
  const replay = replayLedgerBytes(bytes, { clusterId, nodeId, keys, onFlush });
  const { generation, isTornFlushCut, fault } = replay;
  const headerCopies = headerCopiesOf(bytes);
  return { file, role, generation, headerCopies, flushes, isTornFlushCut, fault };
}

function headerCopiesOf(bytes: Uint8Array): number {
  const headers = [0, ledgerBlockBytes].map((offset) => readLedgerFileHeader(bytes, offset));
  return headers.filter((header) => header !== undefined).length;
}
