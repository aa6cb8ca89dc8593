/** The snapshots of a replica as the background scrub reads them back (specification §5.4). */
import { isClustorError } from '../base/errors.ts';
import type { PartitionId } from '../base/ids.ts';
import type { SnapshotFolder, SnapshotManifest } from '../storage/snapshot-folder.ts';
import type { ScrubbedFile } from '../storage/scrubber.ts';

/** What is there now; `damaged` is told of each that stays bad. */
export function scrubbedSnapshots(
  folder: Pick<SnapshotFolder, 'published' | 'verify'>,
  partitionId: PartitionId,
  damaged: (manifest: SnapshotManifest, reason: string) => void,
): readonly ScrubbedFile[] {
  return folder.published.map((manifest) => ({
    name: `snapshot ${partitionId} ${manifest.index} ${manifest.term}`,
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
      damaged(manifest, reason);
    },
  }));
}
