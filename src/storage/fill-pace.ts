/**
 * How fast the next file is zero-filled: as fast as the one in use fills up, so that it is ready in time and the disk is
 * left to the writes that somebody waits for.
 */
import type { ZeroPace } from '../ports/file-system.ts';

/** Share of the file in use at which the next one is to be ready. */
const readyAtShare = 0.8;
/** Between slices while the fill is ahead, milliseconds: what nobody hurries is done in some seconds nevertheless. */
const aheadPauseMs = 25;

/** A pace for a file of `sizeBytes`; `usedShare` tells how full the one in use is, or that nobody needs another. */
export function paceOf(sizeBytes: number, usedShare: () => number | 'stop'): ZeroPace {
  return (doneBytes) => {
    const share = usedShare();
    if (share === 'stop') return share;
    return doneBytes * readyAtShare > share * sizeBytes ? aheadPauseMs : 0;
  };
}
