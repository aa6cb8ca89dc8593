/** Checks the bounds of a data directory's log. */
import { ClustorError } from '../base/errors.ts';
import { clientLogBytesMax } from './log-admission.ts';
import { defaultLogStoreLimits, type LogStoreLimits } from './log-store-types.ts';

/** A segment takes the largest batch whole: 4 MiB of frames and their blocks. */
const segmentBytesMin = 8 * 1024 * 1024;
const segmentBytesMax = 2 * 1024 * 1024 * 1024;
const ledgerBytesMin = 256 * 1024;
/** A durable chain that takes longer is a sign of a slow disk, milliseconds (`durability.max_device_latency_ms`). */
export const defaultDeviceLatencyMsMax = 100;
/** Share of the node's log that one partition may take, unless told otherwise. */
const partitionShare = 0.5;

/** Completes and checks limits. @throws ClustorError `CLUSTOR_INVALID_ARGUMENT`. */
export function logStoreLimits(given: Partial<LogStoreLimits> = {}): LogStoreLimits {
  const { logBytesMax } = { ...defaultLogStoreLimits, ...given };
  const { partitionLogBytesMax = Math.floor(logBytesMax * partitionShare) } = given;
  const limits = { ...defaultLogStoreLimits, ...given, partitionLogBytesMax };
  const { segmentBytes, ledgerBytes } = limits;
  for (const [name, value] of Object.entries(limits)) {
    if (!Number.isSafeInteger(value) || value < 1)
      throw wrong(`${name} must be a whole number of at least 1, got ${value}`);
  }
  if (
    segmentBytes % 4096 !== 0 ||
    segmentBytes < segmentBytesMin ||
    segmentBytes > segmentBytesMax
  ) {
    throw wrong(
      `segmentBytes must be a multiple of 4,096 from ${segmentBytesMin} to ${segmentBytesMax}, got ${segmentBytes}`,
    );
  }
  if (ledgerBytes % 4096 !== 0 || ledgerBytes < ledgerBytesMin)
    throw wrong(
      `ledgerBytes must be a multiple of 4,096 of at least ${ledgerBytesMin}, got ${ledgerBytes}`,
    );
  if (logBytesMax < 4 * segmentBytes)
    throw wrong(
      `logBytesMax must hold at least 4 segments of ${segmentBytes} bytes, got ${logBytesMax}`,
    );
  // One that fills the node before it reaches its own bound would stop all the others (regression 69).
  if (partitionLogBytesMax > clientLogBytesMax(limits))
    throw wrong(
      `partitionLogBytesMax must be at most ${clientLogBytesMax(limits)} where logBytesMax is ${logBytesMax}, got ${partitionLogBytesMax}`,
    );
  return limits;
}

function wrong(message: string): ClustorError {
  return new ClustorError('CLUSTOR_INVALID_ARGUMENT', message);
}
