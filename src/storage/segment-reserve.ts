/**
 * Spare segments that lie ready for the day on which the disk has no room (specification §8): written with zeros to their
 * full size, so that their blocks are this node's own, and given a segment's name when one is needed.
 *
 * Crash story. A spare file is written by nobody but {@link SegmentReserve.fill}. It gets its new name, and the directory is
 * synced, before its first byte is used; so a name of the reserve never leads to a file that holds something. A file that
 * is too short was left by a crash in the middle of a fill and is made anew.
 */
import { messageOf } from '../base/errors.ts';
import type { FileSystem, ZeroPace } from '../ports/file-system.ts';
import type { Observer } from '../ports/observer.ts';
import type { DiskGuard } from './disk-guard.ts';

/** What a reserve needs. */
export interface SegmentReserveOptions {
  readonly fileSystem: FileSystem;
  readonly observer: Observer;
  readonly guard: DiskGuard;
  readonly folder: string;
  readonly segmentBytes: number;
}

/** Segments kept ready. */
export const reserveSegmentsMax = 2;
const slicePauseMs = 25;

/** See the file comment. */
export class SegmentReserve {
  readonly #options: SegmentReserveOptions;
  readonly #ready = new Set<string>();
  #filling: Promise<void> | undefined;
  #isClosed = false;

  constructor(options: SegmentReserveOptions) {
    this.#options = options;
  }

  /** Spare segments that lie ready. */
  get count(): number {
    return this.#ready.size;
  }

  /** Looks which files of an earlier process are whole. */
  async open(): Promise<void> {
    const { fileSystem, folder, segmentBytes } = this.#options;
    const found = await fileSystem.listDirectory(folder);
    for (const path of this.#paths().filter((one) =>
      found.some((name) => one.endsWith(`/${name}`)),
    )) {
      const file = await fileSystem.open(path, { access: 'read' });
      const size = await fileSystem.size(file);
      await fileSystem.close(file);
      if (size === segmentBytes) this.#ready.add(path);
    }
  }

  /** Gives a spare file the name `path`; its size, or `undefined` when none is left. */
  async take(path: string): Promise<number | undefined> {
    const { fileSystem, folder, segmentBytes, observer } = this.#options;
    const [spare] = [...this.#ready].slice(-1);
    if (spare === undefined) return undefined;
    this.#ready.delete(spare);
    await fileSystem.rename(spare, path);
    await fileSystem.syncDirectory(folder);
    observer.emit({ level: 'warn', kind: 'reserveUsed', fields: { path, left: this.count } });
    return segmentBytes;
  }

  /** Makes the missing files in the background, as far as there is room for them. */
  fill(): void {
    if (this.#isClosed || this.#filling !== undefined) return;
    this.#filling = this.#fill()
      .catch((error: unknown) => {
        if (this.#isClosed) return;
        const fields = { message: messageOf(error) };
        this.#options.observer.emit({ level: 'warn', kind: 'reserveNotFilled', fields });
      })
      .finally(() => {
        this.#filling = undefined;
      });
  }

  /** Ends the filling. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#filling;
  }

  async #fill(): Promise<void> {
    const { fileSystem, folder, segmentBytes, guard } = this.#options;
    const pace: ZeroPace = () => (this.#isClosed ? 'stop' : slicePauseMs);
    for (const path of this.#paths()) {
      if (this.#ready.has(path)) continue;
      // One after the other: the disk belongs to the writes that somebody waits for.
      if (this.#isClosed || !(await guard.hasRoomFor(segmentBytes))) return;
      await fileSystem.remove(path);
      await fileSystem.createZeroed(path, segmentBytes, pace);
      await fileSystem.syncDirectory(folder);
      this.#ready.add(path);
    }
  }

  #paths(): readonly string[] {
    const { folder } = this.#options;
    return Array.from({ length: reserveSegmentsMax }, (_, at) => `${folder}/reserve-${at + 1}`);
  }
}
