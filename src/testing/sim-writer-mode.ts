/** In which mode a simulated disk's chains run, and what of it the disk and the machine refuse. */
import type { IoWriterFault, IoWriterMode } from '../ports/file-system.ts';
import type { SimDisk } from './sim-disk.ts';

/** The mode of one life. */
export class SimWriterMode {
  readonly #disk: SimDisk;
  #isDirect: boolean;
  #isOnLoop: boolean;
  #isDirectRefused = false;
  #isThreadLost = false;

  constructor(disk: SimDisk, mode: IoWriterMode) {
    this.#disk = disk;
    this.#isDirect = mode === 'Direct';
    this.#isOnLoop = mode === 'Blocking';
  }

  get mode(): IoWriterMode {
    if (this.#isOnLoop) return 'Blocking';
    return this.#isDirect ? 'Direct' : 'Pooled';
  }

  /** Why it came by itself. */
  get fault(): IoWriterFault | undefined {
    if (this.#isOnLoop) return this.#isThreadLost ? 'ThreadLost' : undefined;
    return this.#isDirectRefused ? 'DirectRefused' : undefined;
  }

  /** Whether files for chains are reached past the page cache. */
  get isDirect(): boolean {
    return this.#isDirect;
  }

  /** No chain is under way: a thread that has ended by now is missed. */
  chainComes(): void {
    if (!this.#disk.hasNoThread || this.#isOnLoop) return;
    this.#isOnLoop = true;
    this.#isThreadLost = true;
  }

  /** A file for chains is opened: whether it takes direct writes shows. */
  fileOpens(): void {
    if (!this.#disk.refusesDirect || !this.#isDirect) return;
    this.#isDirect = false;
    this.#isDirectRefused = true;
  }

  /** Goes over to another mode, as far as it can be had. */
  change(mode: IoWriterMode): IoWriterMode {
    this.#isOnLoop = mode === 'Blocking';
    this.#isThreadLost = false;
    this.#isDirect = mode === 'Direct' && !this.#isDirectRefused;
    this.chainComes();
    this.fileOpens();
    return this.mode;
  }
}
