/**
 * The snapshots of a replica as the background scrub reads them back (specification §5.4). One that is bad goes once there is a
 * good one; where it was the newest good one, there is none until the machine has written its state again.
 */
import { isClustorError } from '../base/errors.ts';
import type { PartitionId } from '../base/ids.ts';
import { isSamePlace } from '../codec/snapshot-manifest.ts';
import type { SnapshotFolder, SnapshotManifest } from '../storage/snapshot-folder.ts';
import type { ScrubbedFile, ScrubSources } from '../storage/scrubber.ts';

/** What is needed of the replica. */
export interface SnapshotScrubOptions {
  readonly folder: Pick<SnapshotFolder, 'published' | 'verify' | 'remove'>;
  readonly partitionId: PartitionId;
  readonly scrub: ScrubSources;
  /** The newest snapshot that is known to be good. */
  readonly good: () => SnapshotManifest | undefined;
  /** One was found bad; if it is the good one, it is that no more. */
  readonly foundBad: (manifest: SnapshotManifest, reason: string) => void;
  readonly notRemoved: (error: unknown) => void;
}

/** See the file comment. */
export class SnapshotScrub {
  readonly #options: SnapshotScrubOptions;
  readonly #end: () => void;
  #bad: readonly SnapshotManifest[] = [];
  #isClosed = false;

  constructor(options: SnapshotScrubOptions) {
    this.#options = options;
    this.#end = options.scrub.add(() => this.#files());
  }

  /** Nothing good is left: the machine is to write its state again. */
  get mustReplace(): boolean {
    return this.#bad.length > 0 && this.#options.good() === undefined;
  }

  /** Whether it was found bad and is still there. */
  isBad(manifest: SnapshotManifest): boolean {
    return this.#bad.some((bad) => isSamePlace(bad, manifest));
  }

  /** Removes what is bad, if there is something good. */
  review(): void {
    if (this.#bad.length > 0 && !this.mustReplace && !this.#isClosed) void this.#removeBad();
  }

  /** Nothing is read any more. */
  close(): void {
    this.#isClosed = true;
    this.#end();
  }

  #files(): readonly ScrubbedFile[] {
    const { folder, partitionId } = this.#options;
    return folder.published.map((manifest) => ({
      // Another one at the same place is another one.
      name: `snapshot ${partitionId} ${manifest.index} ${manifest.term} ${manifest.createdMs}`,
      bytes: manifest.stateBytes + manifest.machineBytes,
      check: async (pace) => {
        try {
          return await folder.verify(manifest, pace);
        } catch (error) {
          // Removed meanwhile: nothing rests on it.
          if (isClustorError(error, 'CLUSTOR_LOG_COMPACTED')) return undefined;
          throw error;
        }
      },
      damaged: (reason) => {
        this.#found(manifest, reason);
      },
    }));
  }

  #found(manifest: SnapshotManifest, reason: string): void {
    if (this.#isClosed) return;
    if (!this.isBad(manifest)) this.#bad = [...this.#bad, manifest];
    this.#options.foundBad(manifest, reason);
  }

  async #removeBad(): Promise<void> {
    const { folder, good } = this.#options;
    const bad = this.#bad;
    this.#bad = [];
    try {
      for (const manifest of bad) {
        const kept = good();
        if (kept === undefined) this.#bad = [...this.#bad, manifest];
        else if (!isSamePlace(kept, manifest)) await folder.remove(manifest);
        else {
          // Written over; or the machine was taking it in while it rotted.
          const reason = await folder.verify(manifest);
          if (reason !== undefined) this.#found(manifest, reason);
        }
      }
    } catch (error) {
      if (!this.#isClosed) this.#options.notRemoved(error);
    }
  }
}
