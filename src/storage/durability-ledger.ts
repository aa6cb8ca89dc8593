/**
 * The ledger's writer: builds flushes, keeps their numbers, and rotates to a new generation.
 *
 * Crash story. A flush starts only after the one before is synced, on fresh blocks, twice under one sync. A new generation
 * is written beside the old one while nothing else is flushed: header twice, a flush with everything still needed, synced,
 * a second flush that knows the first as synced, synced, rename, directory sync. Until the directory is synced the old file
 * says the same; so a crash anywhere leaves one of two ledgers with the same content. The old generation's file is kept under
 * a second name and becomes the next but one: its blocks are long allocated, also on a disk that is full by now, and a stale
 * flush names an older generation. A spare of an earlier process is used only if its header proves that it is older than the
 * ledger in use, or if nobody ever wrote it: a crash between link and rename leaves the ledger itself under that name.
 */
import { assert } from '../base/assert.ts';
import { ByteWriter } from '../base/bytes.ts';
import { ClustorError } from '../base/errors.ts';
import type { ClusterId, NodeId } from '../base/ids.ts';
import {
  beginLedgerFlush,
  endLedgerFlush,
  ledgerBlockBytes,
  readLedgerFileHeader,
  writeLedgerFileHeader,
} from '../codec/ledger-format.ts';
import { writeLedgerRecord, type LedgerRecord } from '../codec/ledger-records.ts';
import type { Entropy } from '../ports/entropy.ts';
import type { FileHandle, FileSystem, IoStep, ZeroPace } from '../ports/file-system.ts';
import { isBadSector } from './block-reads.ts';
import type { DiskGuard } from './disk-guard.ts';
import { paceOf } from './fill-pace.ts';
import { isDiskFull, type PatientDisk } from './full-disk.ts';
import type { JournalKeys } from './journal-keys.ts';
import type { JournalPosition, LedgerImage } from './ledger-image.ts';
import type { LedgerExtent } from './scrub-ledger.ts';

/** What the writer needs. */
export interface DurabilityLedgerOptions {
  readonly fileSystem: FileSystem;
  readonly entropy: Entropy;
  /** The folder `wal`. */
  readonly folder: string;
  readonly clusterId: ClusterId;
  readonly nodeId: NodeId;
  /** Sign the header. */
  readonly keys: JournalKeys;
  readonly ledgerBytes: number;
  readonly image: LedgerImage;
  readonly disk: PatientDisk;
  readonly guard: DiskGuard;
  /** Where the last generation ended. */
  readonly generation: number;
  readonly flushSeq: number;
}

/** Name of the ledger file. */
export const ledgerFileName = 'durability.log';
const nextFileName = 'durability.log.next';
/** Name of the generation before, kept to be written over, or of a file made ready. */
export const spareFileName = 'durability.log.spare';
/** A spare while it is being made: no other name leads to it, so nobody's blocks are overwritten. */
const fillingFileName = 'durability.log.filling';
const stagingBytesMin = 64 * 1024;
/** Share of its file before whose end a generation may end. */
const endShareMax = 1 / 5;

/** See the file comment. */
export class DurabilityLedger {
  readonly #options: DurabilityLedgerOptions;
  readonly #writer = new ByteWriter(16 * 1024);
  #staging: Uint8Array;
  #file: FileHandle | undefined;
  #fileBytes = 0;
  /** Where this generation ends: not quite the same at all nodes, so that a majority does not rotate at one time. */
  #rotateAtBytes = 0;
  #position = 0;
  /** Behind the newest flush that is synced. */
  #syncedPosition = 0;
  #generation: number;
  /** The generation whose file has the ledger's name; behind `#generation` while that is being written. */
  #generationInUse: number;
  #flushSeq: number;
  #syncedFlushSeq: number;
  /** The newest fill of the spare in the background; one that failed stays until there is room again. */
  #preparing: Promise<void> | undefined;
  /** That fill is under way: a second one would take its file. */
  #isFilling = false;
  #isRotating = false;
  #isClosing = false;
  /** Size of the file made ready for the next generation: a new one, or an older generation's. */
  #spareBytes = 0;

  constructor(options: DurabilityLedgerOptions) {
    this.#options = options;
    this.#generation = options.generation;
    this.#generationInUse = options.generation;
    this.#flushSeq = options.flushSeq;
    this.#syncedFlushSeq = options.flushSeq;
    this.#staging = options.fileSystem.allocateStaging(stagingBytesMin);
  }

  /** Number of the newest synced flush: `ledger_seq` of acknowledgements. */
  get syncedFlushSeq(): number {
    return this.#syncedFlushSeq;
  }

  /** What of it is on stable storage, for the scrub. */
  get extent(): LedgerExtent {
    return { generation: this.#generationInUse, endOffset: this.#syncedPosition };
  }

  /** Number of the generation in use. */
  get generation(): number {
    return this.#generation;
  }

  /** Whether a flush of records of at most this size must wait for a rotation. */
  needsRotation(recordBytes: number): boolean {
    return this.#position + flushBytesMax(recordBytes) > this.#rotateAtBytes;
  }

  /** Makes the next generation's file ready in the background. */
  prepareAhead(): void {
    const { ledgerBytes } = this.#options;
    if (this.#preparing !== undefined || this.#spareBytes >= ledgerBytes) return;
    const pace = paceOf(ledgerBytes, () =>
      this.#isClosing ? 'stop' : this.#isRotating ? 1 : this.#position / this.#fileBytes,
    );
    // Where that fails the rotation does it, and waits for room.
    this.#isFilling = true;
    this.#preparing = this.#makeSpare(ledgerBytes, pace)
      .catch(() => undefined)
      .finally(() => {
        this.#isFilling = false;
      });
  }

  /** Makes ready what there was no room for. */
  roomAgain(): void {
    if (this.#isRotating || this.#isFilling || this.#spareBytes > 0) return;
    this.#preparing = undefined;
    this.prepareAhead();
  }

  /**
   * Lays out a flush and returns its chain steps. Completed by {@link DurabilityLedger.synced}; exactly one is under way.
   * The image takes the records in here: what is laid out is either synced or the store is poisoned.
   */
  flush(records: readonly LedgerRecord[], coverage: JournalPosition): readonly IoStep[] {
    const { image } = this.#options;
    const file = this.#openFile();
    assert(
      this.#flushSeq === this.#syncedFlushSeq,
      'a ledger flush starts only after the one before is synced',
    );
    for (const record of records) image.apply(record);
    image.cover(coverage);
    this.#flushSeq++;
    const write = new LaidOutLater(file, this.#position, () => {
      this.#writer.reset();
      this.#layOut(records);
      const bytes = this.#stage();
      this.#position += bytes.length;
      assert(this.#position <= this.#fileBytes, 'a ledger flush fits its file');
      return bytes;
    });
    return [write, { kind: 'sync', file }];
  }

  /** The flush under way is on stable storage. */
  synced(): void {
    this.#syncedFlushSeq = this.#flushSeq;
    this.#syncedPosition = this.#position;
  }

  /**
   * Begins a new generation with everything in the image, in a file that has room for a flush of so many bytes of records
   * behind it; resolves once it counts. Nothing else may be flushed meanwhile.
   */
  async rotate(recordBytes = 0): Promise<void> {
    this.#isRotating = true;
    await this.#preparing;
    await this.#rotate(recordBytes);
    this.#isRotating = false;
  }

  async #rotate(recordBytes: number): Promise<void> {
    const { fileSystem, entropy, folder, image, ledgerBytes, disk } = this.#options;
    if (this.#file === undefined) this.#spareBytes = await this.#spareFound();
    const records = image.records();
    const nextPath = `${folder}/${nextFileName}`;
    this.#generation++;
    this.#writer.reset();
    for (let copy = 0; copy < 2; copy++) this.#writeFileHeader();
    this.#flushSeq++;
    this.#layOut(records);
    const imageBytes = this.#writer.length;
    const sizeBytes = Math.max(ledgerBytes, imageBytes * 4, fileBytesMin(imageBytes, recordBytes));
    this.#preparing = undefined;
    if (this.#spareBytes < sizeBytes)
      await disk.untilRoom('ledger', () => this.#makeSpare(sizeBytes));
    const nextBytes = this.#spareBytes;
    await disk.untilRoom('ledger', () => fileSystem.rename(`${folder}/${spareFileName}`, nextPath));
    this.#spareBytes = 0;
    await fileSystem.syncDirectory(folder);
    const file = await fileSystem.open(nextPath, { access: 'durableWrite' });
    await this.#writeSynced(file, 0, this.#stage());
    const second = this.#writer.length;
    this.#syncedFlushSeq = this.#flushSeq;
    this.#flushSeq++;
    this.#writer.reset();
    this.#layOut([]);
    const secondBytes = this.#stage();
    await this.#writeSynced(file, second, secondBytes);
    const old = this.#file;
    const isKept = await this.#keepOld();
    await disk.untilRoom('ledger', () =>
      fileSystem.rename(nextPath, `${folder}/${ledgerFileName}`),
    );
    await fileSystem.syncDirectory(folder);
    this.#syncedFlushSeq = this.#flushSeq;
    this.#spareBytes = isKept ? await this.#spareFound() : 0;
    this.#file = file;
    this.#fileBytes = nextBytes;
    this.#rotateAtBytes =
      nextBytes - Math.floor(nextBytes * endShareMax * (entropy.uint32() / 2 ** 32));
    this.#position = second + secondBytes.length;
    this.#syncedPosition = this.#position;
    this.#generationInUse = this.#generation;
    if (old !== undefined) await fileSystem.close(old);
  }

  /** Closes the file. */
  async close(): Promise<void> {
    this.#isClosing = true;
    await this.#preparing;
    if (this.#file !== undefined) await this.#options.fileSystem.close(this.#file);
    this.#file = undefined;
  }

  #writeFileHeader(): void {
    const { clusterId, nodeId, keys } = this.#options;
    const { macEpoch, sign } = keys.ledgerSignature();
    const header = { clusterId, nodeId, generation: this.#generation, macEpoch };
    writeLedgerFileHeader(this.#writer, header, sign);
  }

  /** Appends both copies of the flush numbered `#flushSeq` to the writer. */
  #layOut(records: readonly LedgerRecord[]): void {
    const { image, fileSystem } = this.#options;
    const { segmentSeq, endOffset } = image.coverage;
    const header = {
      generation: this.#generation,
      flushSeq: this.#flushSeq,
      syncedFlushSeq: this.#syncedFlushSeq,
      segmentSeq,
      endOffset,
      ioWriterMode: fileSystem.ioWriterMode,
    };
    const start = beginLedgerFlush(this.#writer, header);
    for (const record of records) writeLedgerRecord(this.#writer, record);
    endLedgerFlush(this.#writer, start);
    this.#writer.repeat(start, this.#writer.length);
  }

  #stage(): Uint8Array {
    const { length } = this.#writer;
    if (length > this.#staging.length) {
      let size = this.#staging.length;
      while (size < length) size *= 2;
      this.#staging = this.#options.fileSystem.allocateStaging(size);
    }
    this.#writer.copyTo(this.#staging, 0);
    return this.#staging.subarray(0, length);
  }

  async #makeSpare(sizeBytes: number, pace?: ZeroPace): Promise<void> {
    const { fileSystem, folder, guard } = this.#options;
    const path = `${folder}/${spareFileName}`;
    const fillingPath = `${folder}/${fillingFileName}`;
    // The names go first: what an earlier process left under them may be the ledger itself.
    await fileSystem.remove(path);
    await fileSystem.remove(`${folder}/${nextFileName}`);
    await fileSystem.remove(fillingPath);
    if (!(await guard.hasRoomFor(sizeBytes)))
      throw new ClustorError('CLUSTOR_DISK_HARD', `there is no room for ${path}`);
    await fileSystem.createZeroed(fillingPath, sizeBytes, pace);
    await fileSystem.rename(fillingPath, path);
    await fileSystem.syncDirectory(folder);
    this.#spareBytes = sizeBytes;
  }

  /** Gives the ledger in use, if there is one, the name of the spare as well. */
  async #keepOld(): Promise<boolean> {
    const { fileSystem, folder } = this.#options;
    if (this.#file === undefined && this.#options.generation === 0) return false;
    try {
      await fileSystem.link(`${folder}/${ledgerFileName}`, `${folder}/${spareFileName}`);
      return true;
    } catch (error) {
      if (!isDiskFull(error)) throw error;
      return false;
    }
  }

  /** Size of the spare that is there; 0 unless nothing in it can be taken for the generation in use or a later one. */
  async #spareFound(): Promise<number> {
    const { fileSystem, folder } = this.#options;
    if (!(await fileSystem.listDirectory(folder)).includes(spareFileName)) return 0;
    const file = await fileSystem.open(`${folder}/${spareFileName}`, { access: 'read' });
    try {
      const head = await fileSystem.read(file, 0, 2 * ledgerBlockBytes);
      const header = readLedgerFileHeader(head, 0) ?? readLedgerFileHeader(head, ledgerBlockBytes);
      const isOlder =
        header === undefined
          ? head.every((byte) => byte === 0)
          : header.generation < this.#generation;
      return isOlder ? await fileSystem.size(file) : 0;
    } catch (error) {
      // A head that cannot be read may be of any generation.
      if (isBadSector(error)) return 0;
      throw error;
    } finally {
      await fileSystem.close(file);
    }
  }

  #writeSynced(file: FileHandle, position: number, bytes: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      const steps: IoStep[] = [
        { kind: 'write', file, position, bytes },
        { kind: 'sync', file },
      ];
      this.#options.disk.submit(steps, (failure) => {
        if (failure === undefined) resolve();
        else
          reject(
            new ClustorError(
              'CLUSTOR_STORAGE_FAILED',
              `writing a new ledger generation failed: ${failure.systemCode}`,
            ),
          );
      });
    });
  }

  #openFile(): FileHandle {
    if (this.#file === undefined)
      throw new ClustorError('CLUSTOR_STORAGE_FAILED', 'the ledger is not open');
    return this.#file;
  }
}

/** An upper bound of what a flush takes with both copies, by what its records take in one. */
function flushBytesMax(recordBytes: number): number {
  return 2 * (recordBytes + 2 * ledgerBlockBytes);
}

/** Size of a file that takes a flush behind its first two, however early its generation ends. */
function fileBytesMin(imageBytes: number, recordBytes: number): number {
  const secondBytes = 2 * ledgerBlockBytes;
  const bytes = (imageBytes + secondBytes + flushBytesMax(recordBytes)) / (1 - endShareMax);
  return Math.ceil(bytes / ledgerBlockBytes) * ledgerBlockBytes;
}

/** An upper bound of what records take in one copy of a flush. */
export function recordBytesMax(records: readonly LedgerRecord[]): number {
  let bytes = 0;
  for (const record of records) {
    bytes += 64;
    if (record.kind === 'doubt') bytes += record.reason.length * 3;
    if (record.kind === 'quarantine') bytes += 128 + record.ranges.length * 16;
    if (record.kind === 'hold') bytes += (record.detail.length + record.ticket.length) * 3;
    if (record.kind !== 'configuration') continue;
    for (const member of [
      ...record.configuration.members,
      ...record.configuration.outgoingMembers,
    ]) {
      bytes += 64 + member.addresses.reduce((sum, address) => sum + 8 + address.length * 3, 0);
    }
  }
  return bytes;
}

/** A write whose bytes are laid out when the disk asks for them: it is at work on the journal's by then. */
class LaidOutLater {
  readonly kind = 'write';
  readonly file: FileHandle;
  readonly position: number;
  readonly #layOut: () => Uint8Array;
  #bytes: Uint8Array | undefined;

  constructor(file: FileHandle, position: number, layOut: () => Uint8Array) {
    this.file = file;
    this.position = position;
    this.#layOut = layOut;
  }

  get bytes(): Uint8Array {
    return (this.#bytes ??= this.#layOut());
  }
}
