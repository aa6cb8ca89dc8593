/** Whether the snapshots of a partition are good, and whether its log has one that it can go on from (specification §7). */
import type { LiveLog, OpenedDirectory } from './journal-walk.ts';
import { snapshotName } from './snapshot-files.ts';
import type { SnapshotManifest, SnapshotPlace } from './snapshot-folder.ts';
import { listSnapshots, useOf, type SnapshotOwner, type SnapshotUse } from './snapshot-listing.ts';

/** One snapshot that was read. */
export interface VerifiedSnapshot extends SnapshotPlace {
  /** SHA-256 of what its manifest says; `undefined` where that cannot be read. */
  readonly contentHash: string | undefined;
  readonly bytes: number;
  readonly parts: number;
  /** Why it is bad. */
  readonly fault: string | undefined;
  /**
   * `goesOn`: the log goes on from it. `behindLog`: it was fetched and never put in the place of the log. `beforeLog`: the log
   * begins behind a later entry. `undefined` where the log does not have its last entry.
   */
  readonly use: SnapshotUse | undefined;
}

/** Who hears what is not as it should be. */
export interface FindingListener {
  damage(where: string, what: string): void;
  note(where: string, what: string): void;
}

/** Reads every snapshot of a partition: its manifest by its hash, every part by its tag and its digest. */
export async function verifySnapshots(
  opened: OpenedDirectory,
  { owner, log, found }: SnapshotsToVerify,
): Promise<readonly VerifiedSnapshot[]> {
  const { folder, rests } = await listSnapshots(opened, owner);
  const verified: VerifiedSnapshot[] = [];
  for (const { reason, ...place } of folder.damaged)
    verified.push({
      ...place,
      contentHash: undefined,
      bytes: 0,
      parts: 0,
      fault: reason,
      use: useOf(place, log),
    });
  for (const manifest of folder.published)
    verified.push(verifiedOf(manifest, { fault: await folder.verify(manifest), log }));
  const { partitionId } = owner;
  const whereOf = (place: SnapshotPlace): string =>
    `partition ${partitionId} snapshot ${snapshotName(place)}`;
  for (const place of rests)
    found.note(whereOf(place), 'an attempt left it without a manifest; the next start removes it');
  for (const snapshot of verified) {
    if (snapshot.fault !== undefined) found.damage(whereOf(snapshot), snapshot.fault);
    else if (snapshot.use === 'behindLog')
      found.note(whereOf(snapshot), 'it was fetched and never put in the place of the log');
    else if (snapshot.use === undefined)
      found.note(whereOf(snapshot), 'the log does not have the entry that it ends with');
  }
  const isGood = verified.some(({ fault, use }) => fault === undefined && use === 'goesOn');
  if (log.baseIndex > 0 && !isGood)
    found.damage(
      `partition ${partitionId}`,
      `its log begins behind entry ${log.baseIndex}, and no good snapshot is at or behind that entry`,
    );
  return verified.sort((left, right) => left.index - right.index);
}

/** Whose snapshots, what its log has, and who hears of it. */
export interface SnapshotsToVerify {
  readonly owner: SnapshotOwner;
  readonly log: LiveLog;
  readonly found: FindingListener;
}

function verifiedOf(
  { index, term, contentHash, stateBytes, machineBytes, parts }: SnapshotManifest,
  { fault, log }: { readonly fault: string | undefined; readonly log: LiveLog },
): VerifiedSnapshot {
  return {
    index,
    term,
    contentHash,
    bytes: stateBytes + machineBytes,
    parts: parts.length,
    fault,
    use: useOf({ index, term }, log),
  };
}
