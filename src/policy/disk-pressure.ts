/**
 * How full a node's disk is, in the words that admission needs (specification §8, §8.1): `soft` is told, `hard` refuses
 * writes of clients while everything else goes on.
 *
 * The limits are 80 % and 90 % of the file system and of `log_bytes_max`. On a large file system a share means little: ten
 * per cent of two terabytes are more than the log may ever take. So free room counts against an eighth (hard) and a quarter
 * (soft) of `log_bytes_max` where that is less. Whoever is over a limit stays so until it is left by a margin.
 */

/** How full a disk is. @public */
export type DiskPressure = 'none' | 'soft' | 'hard';

/** What is short. @public */
export type DiskShortage = 'none' | 'fileSystem' | 'log' | 'refused';

/** One look at a disk. */
export interface DiskSample {
  readonly totalBytes: number;
  readonly freeBytes: number;
  /** Bytes of the journal. */
  readonly logBytes: number;
  readonly logBytesMax: number;
  /** A write found no room, and none has succeeded there since. */
  readonly isRefused: boolean;
}

/** A judgement of a disk. */
export interface DiskVerdict {
  readonly pressure: DiskPressure;
  readonly shortage: DiskShortage;
}

const softShare = 0.8;
const hardShare = 0.9;
/** The same, seen from what is free. */
const softFreeShare = 0.2;
const hardFreeShare = 0.1;
const softLogShare = 1 / 4;
const hardLogShare = 1 / 8;
/** A limit that was passed is left at this share of the log's limit, or with this much more room. */
const logLeaveMargin = 0.02;
const roomLeaveFactor = 1.2;

/** Judges a disk; `previous` is what was judged before. */
export function judgeDisk(previous: DiskPressure, sample: DiskSample): DiskVerdict {
  if (sample.isRefused) return { pressure: 'hard', shortage: 'refused' };
  if (isPassed(sample, 'hard', previous === 'hard'))
    return { pressure: 'hard', shortage: shortageOf(sample, 'hard', previous === 'hard') };
  if (isPassed(sample, 'soft', previous !== 'none'))
    return { pressure: 'soft', shortage: shortageOf(sample, 'soft', previous !== 'none') };
  return { pressure: 'none', shortage: 'none' };
}

/** Free bytes at or below which a file system is over the limit. */
export function roomLimitBytes(
  limit: 'soft' | 'hard',
  { totalBytes, logBytesMax }: Pick<DiskSample, 'totalBytes' | 'logBytesMax'>,
): number {
  return limit === 'hard'
    ? Math.min(totalBytes * hardFreeShare, logBytesMax * hardLogShare)
    : Math.min(totalBytes * softFreeShare, logBytesMax * softLogShare);
}

/** Bytes of the log at which it is over the limit. */
export function logLimitBytes(limit: 'soft' | 'hard', logBytesMax: number): number {
  return logBytesMax * (limit === 'hard' ? hardShare : softShare);
}

function isPassed(sample: DiskSample, limit: 'soft' | 'hard', wasPassed: boolean): boolean {
  return shortageOf(sample, limit, wasPassed) !== 'none';
}

function shortageOf(sample: DiskSample, limit: 'soft' | 'hard', wasPassed: boolean): DiskShortage {
  const room = roomLimitBytes(limit, sample) * (wasPassed ? roomLeaveFactor : 1);
  if (sample.freeBytes <= room) return 'fileSystem';
  const { logBytes, logBytesMax } = sample;
  const log = logLimitBytes(limit, logBytesMax) - (wasPassed ? logLeaveMargin * logBytesMax : 0);
  return logBytes >= log ? 'log' : 'none';
}
