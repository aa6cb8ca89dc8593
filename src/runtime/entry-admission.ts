/** What an entry may be. Whatever passes here can be read by every replica when it is applied. */
import { ClustorError, isClustorError } from '../base/errors.ts';
import type { LogIndex } from '../base/ids.ts';
import {
  createEntryMetadata,
  ingestMetadataBytes,
  readEntryMetadata,
} from '../codec/entry-metadata.ts';

/** Bytes of a client's metadata; the leader adds its own field (specification §4). */
const metadataBytesMax = 1024 - ingestMetadataBytes;
/** Metadata is looked at in one go, so one place serves all partitions. */
const scratch = createEntryMetadata();

/**
 * Why an entry with this metadata is not appended, if so: it cannot be read, it sets the time, which is the leader's, or it
 * carries a key without the commit index that its client knew at its first attempt (specification §2.4).
 */
export function metadataRefusal(
  { metadata, isSystem }: { readonly metadata: Uint8Array; readonly isSystem?: true },
  commitIndex: LogIndex,
): ClustorError | undefined {
  if (metadata.length === 0 || isSystem === true) return undefined;
  if (metadata.length > metadataBytesMax)
    return new ClustorError(
      'CLUSTOR_INVALID_ARGUMENT',
      `an entry has at most ${metadataBytesMax} bytes of metadata, got ${metadata.length}`,
    );
  try {
    readEntryMetadata(metadata, { start: 0, end: metadata.length }, scratch);
  } catch (error) {
    if (isClustorError(error)) return error;
    throw error;
  }
  if (scratch.ingestMs >= 0)
    return new ClustorError('CLUSTOR_WIRE_BAD_VALUE', 'the time of an entry is set by its leader');
  const isKeyed = scratch.clientKey !== undefined || scratch.opaqueKey !== undefined;
  if (!isKeyed || scratch.firstSeenCommit >= 0) return undefined;
  return new ClustorError(
    'CLUSTOR_IDEMPOTENCY_INDEX_NEEDED',
    `a keyed append names the commit index known at its first attempt; it is ${commitIndex} now`,
    { details: { commitIndex } },
  );
}

/** Why an entry of this size can never be appended, if so. */
export function sizeRefusal(payloadBytes: number, entryBytesMax: number): ClustorError | undefined {
  if (payloadBytes <= entryBytesMax) return undefined;
  return new ClustorError(
    'CLUSTOR_ENTRY_TOO_LARGE',
    `an entry of ${payloadBytes} bytes exceeds the maximum of ${entryBytesMax}`,
  );
}
