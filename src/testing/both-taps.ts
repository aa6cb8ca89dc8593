/** Two who watch the same run: each is told everything that it wants to know, the first one first. */
import type { SimTap } from './sim-tap.ts';

/** Makes one tap of two. */
export function bothTaps(first: Partial<SimTap>, second: Partial<SimTap>): SimTap {
  return {
    connected: (connection, atMs) => {
      first.connected?.(connection, atMs);
      second.connected?.(connection, atMs);
    },
    sent: (stream, bytes, atMs) => {
      first.sent?.(stream, bytes, atMs);
      second.sent?.(stream, bytes, atMs);
    },
    delivered: (stream, byteCount, atMs) => {
      first.delivered?.(stream, byteCount, atMs);
      second.delivered?.(stream, byteCount, atMs);
    },
    dropped: (stream, byteCount, atMs) => {
      first.dropped?.(stream, byteCount, atMs);
      second.dropped?.(stream, byteCount, atMs);
    },
    truncated: (stream, keptByteCount, atMs) => {
      first.truncated?.(stream, keptByteCount, atMs);
      second.truncated?.(stream, keptByteCount, atMs);
    },
    closed: (stream, atMs) => {
      first.closed?.(stream, atMs);
      second.closed?.(stream, atMs);
    },
    lifeChanged: (machine, change, atMs) => {
      first.lifeChanged?.(machine, change, atMs);
      second.lifeChanged?.(machine, change, atMs);
    },
    replica: (replica, atMs) => {
      first.replica?.(replica, atMs);
      second.replica?.(replica, atMs);
    },
    fault: (action, atMs) => {
      first.fault?.(action, atMs);
      second.fault?.(action, atMs);
    },
    healed: (atMs) => {
      first.healed?.(atMs);
      second.healed?.(atMs);
    },
    operation: (event) => {
      first.operation?.(event);
      second.operation?.(event);
    },
    ended: (atMs) => {
      first.ended?.(atMs);
      second.ended?.(atMs);
    },
  };
}
