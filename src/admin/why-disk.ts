/** Why a node takes no writes for want of room, or soon will not. */
import { bytesText } from '../base/bytes.ts';
import type { DiskStatus } from '../storage/disk-guard.ts';
import type { Clause } from './why-clause.ts';

const growAdvice = 'Give the file system more room, or remove what else lies on it.';
const logAdvice =
  'Raise storage.logBytesMax in the configuration and restart the node, if its disk has the room.';

/** Explains a node's disk. */
export function diskBlocked({ disk }: { readonly disk: DiskStatus }): Clause {
  const room = `${bytesText(disk.freeBytes)} of ${bytesText(disk.totalBytes)} are free`;
  const log = `the log has ${bytesText(disk.logBytes)} of ${bytesText(disk.logBytesMax)} (log_bytes_max)`;
  const refused = 'writes of clients are refused, everything else goes on';
  const { sinceMs } = disk;
  switch (`${disk.pressure} ${disk.shortage}`) {
    case 'hard refused':
      return {
        clause: 'DiskRefused',
        explanation: `a write found no room on the disk although ${room}; ${refused}; ${disk.reserveSegments} spare segments are left`,
        advice: `${growAdvice} Look for quotas too. Writes come back by themselves.`,
        sinceMs,
      };
    case 'hard fileSystem':
      return {
        clause: 'DiskHard',
        explanation: `the file system is nearly full: ${room}; ${refused}`,
        advice: `${growAdvice} Writes come back by themselves.`,
        sinceMs,
      };
    case 'hard log':
      return { clause: 'LogHard', explanation: `${log}; ${refused}`, advice: logAdvice, sinceMs };
    case 'soft fileSystem':
      return {
        clause: 'DiskSoft',
        explanation: `the file system fills up: ${room}; nothing is refused yet`,
        advice: growAdvice,
        sinceMs,
      };
    case 'soft log':
      return {
        clause: 'LogSoft',
        explanation: `${log}; nothing is refused yet`,
        advice: logAdvice,
        sinceMs,
      };
    default:
      return {
        clause: 'None',
        explanation: `nothing stands in the way: ${room}, ${log}`,
        advice: 'Nothing to do.',
      };
  }
}
