/** Committed entries as a stream with back-pressure: pulled from memory or from the log, one batch at a time. */
import { ClustorError } from '../base/errors.ts';
import type { LogIndex, Term } from '../base/ids.ts';
import {
  frameBytesAt,
  frameIndex,
  frameIsSystem,
  framePayloadEnd,
  framePayloadStart,
  frameTerm,
} from '../codec/entry-frame.ts';
import type { FrameSource } from './apply-types.ts';
import type { AppliedWaiter } from './read-barriers.ts';

/** One committed entry. @public */
export interface CommittedEntry {
  readonly index: LogIndex;
  readonly term: Term;
  /** The appended bytes; a view that the consumer may keep. */
  readonly payload: Uint8Array;
}

/** Where a subscription reads from. */
export interface EntryFeed {
  readonly source: FrameSource;
  readonly baseIndex: () => LogIndex;
  readonly appliedIndex: () => LogIndex;
  /** Calls the waiter once the entry is applied; returns what it calls when it gives up. */
  readonly whenApplied: (index: LogIndex, waiter: AppliedWaiter) => () => void;
}

const entriesPerPull = 256;

/** Yields the product's entries from `from` on, leaving out system entries. */
export async function* subscribeToEntries(
  feed: EntryFeed,
  from: LogIndex,
  signal: AbortSignal | undefined,
): AsyncGenerator<CommittedEntry, void, undefined> {
  let next = Math.max(1, from) as LogIndex;
  const isAborted = (): boolean => signal?.aborted ?? false;
  while (!isAborted()) {
    if (next <= feed.baseIndex()) {
      throw new ClustorError(
        'CLUSTOR_LOG_COMPACTED',
        `the log begins behind entry ${feed.baseIndex()}`,
        { details: { firstIndex: feed.baseIndex() + 1 } },
      );
    }
    if (feed.appliedIndex() < next && !(await isApplied(feed, next, signal))) return;
    const lastIndex = Math.min(feed.appliedIndex(), next + entriesPerPull - 1) as LogIndex;
    const views = feed.source.slice(next, lastIndex) ?? [
      (await feed.source.read(next, lastIndex)).bytes,
    ];
    for (const bytes of views) {
      for (
        let offset = 0;
        offset < bytes.length;
        offset += frameBytesAt(bytes, offset, bytes.length)
      ) {
        if (isAborted()) return;
        next = (frameIndex(bytes, offset) + 1) as LogIndex;
        if (!frameIsSystem(bytes, offset)) yield entryAt(bytes, offset);
      }
    }
  }
}

function entryAt(bytes: Uint8Array, offset: number): CommittedEntry {
  return {
    index: frameIndex(bytes, offset),
    term: frameTerm(bytes, offset),
    payload: bytes.subarray(framePayloadStart(bytes, offset), framePayloadEnd(bytes, offset)),
  };
}

/** Waits for an entry; false when the consumer gave up. */
function isApplied(
  feed: EntryFeed,
  index: LogIndex,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  return new Promise<boolean>((resolve, reject) => {
    const onAbort = (): void => {
      giveUp();
      resolve(false);
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    const giveUp = feed.whenApplied(index, {
      applied: () => {
        signal?.removeEventListener('abort', onAbort);
        resolve(true);
      },
      failed: (error) => {
        signal?.removeEventListener('abort', onAbort);
        reject(error);
      },
    });
  });
}
