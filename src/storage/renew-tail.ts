/**
 * Writes anew what recovery keeps behind journal coverage, so that it is on the medium before anybody counts it (KER-11).
 *
 * A sync is not enough. When one failed in an earlier life, the kernel may have marked the pages clean all the same: they are
 * read back from the page cache, the next sync has nothing to do and succeeds, and the medium never had them ("fsyncgate").
 * Nothing behind coverage is known to have been synced, so its bytes are written again, the same ones, in their places.
 */
import { ClustorError } from '../base/errors.ts';
import { blockBytes } from '../codec/segment-format.ts';
import type { FileHandle, FileSystem } from '../ports/file-system.ts';

const chunkBytes = 256 * 1024;

/** A stretch of a file, both ends at whole blocks. */
export interface Tail {
  readonly path: string;
  readonly from: number;
  readonly to: number;
}

/** Writes and syncs tails. @throws ClustorError `CLUSTOR_STORAGE_FAILED` when the disk refuses. */
export async function renewTails(fileSystem: FileSystem, tails: readonly Tail[]): Promise<void> {
  const longest = tails.reduce((length, { from, to }) => Math.max(length, to - from), 0);
  if (longest === 0) return;
  const staging = fileSystem.allocateStaging(Math.min(longest, chunkBytes));
  for (const tail of tails) {
    if (tail.to <= tail.from) continue;
    const file = await fileSystem.open(tail.path, { access: 'durableWrite' });
    try {
      for (let at = tail.from; at < tail.to; at += staging.length) {
        const bytes = await fileSystem.read(file, at, Math.min(staging.length, tail.to - at));
        // Of a block that the file does not hold whole nothing was kept.
        const whole = bytes.length - (bytes.length % blockBytes);
        if (whole === 0) break;
        staging.set(bytes.subarray(0, whole));
        await writeSynced(fileSystem, tail, { file, at, bytes: staging.subarray(0, whole) });
      }
    } finally {
      await fileSystem.close(file);
    }
  }
}

function writeSynced(
  fileSystem: FileSystem,
  tail: Tail,
  part: { readonly file: FileHandle; readonly at: number; readonly bytes: Uint8Array },
): Promise<void> {
  const { file, at, bytes } = part;
  return new Promise((resolve, reject) => {
    fileSystem.submit(
      [
        { kind: 'write', file, position: at, bytes },
        { kind: 'sync', file },
      ],
      (failure) => {
        if (failure === undefined) resolve();
        else
          reject(
            new ClustorError(
              'CLUSTOR_STORAGE_FAILED',
              `writing the end of ${tail.path} again failed with ${failure.systemCode}; the node does not start before its disk takes writes`,
              { details: { systemCode: failure.systemCode } },
            ),
          );
      },
    );
  });
}
