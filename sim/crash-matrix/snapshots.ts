/** Snapshots of the story's partitions: what stands in one tells which it is. */
import { logIndex, term, type PartitionId } from '../../src/base/ids.ts';
import type { SnapshotFolder, SnapshotManifest } from '../../src/storage/snapshot-folder.ts';
import { configurationOf, type StoreLife } from './store-life.ts';

/** Bytes of a part: a small snapshot has some. */
const partBytes = 3_000;
const lines = 60;

/**
 * Takes a snapshot up to an entry of the log, or one of a peer that has another entry there, of `ofTerm`; promised once it is
 * published.
 */
export async function writeSnapshot(
  life: StoreLife,
  id: PartitionId,
  index: number,
  ofTerm = life.of(id).entries[index - 1]?.term ?? 0,
): Promise<void> {
  const promised = life.of(id);
  const place = { index: logIndex(index), term: term(ofTerm), knownTerm: term(promised.term) };
  const folder = folderOf(life, id);
  const writer = await life.settle(
    folder.begin({ ...place, configuration: configurationOf(id), partBytes }),
  );
  const bytes = contentOf(id, index);
  for (let at = 0; at < bytes.length; at += 2_000)
    await life.settle(writer.write(bytes.subarray(at, at + 2_000)));
  await life.settle(writer.finish({ stateBytes: 100 }));
  promised.snapshots.push(index);
}

/** Removes all snapshots of a partition but the newest. */
export async function removeOldSnapshots(life: StoreLife, id: PartitionId): Promise<void> {
  const promised = life.of(id);
  const newest = promised.snapshots.at(-1) ?? 0;
  promised.snapshots = [newest];
  await life.settle(folderOf(life, id).removeBelow(logIndex(newest)));
}

/** The snapshots of a partition that are whole; a text where one is published that is not, or holds what nobody wrote. */
export async function goodSnapshots(
  life: StoreLife,
  id: PartitionId,
): Promise<readonly SnapshotManifest[] | string> {
  const folder = folderOf(life, id);
  const [damaged] = folder.damaged;
  if (damaged !== undefined) return `the snapshot at ${damaged.index}: ${damaged.reason}`;
  for (const manifest of folder.published) {
    const fault = await life.settle(folder.verify(manifest));
    if (fault !== undefined) return `the snapshot at ${manifest.index}: ${fault}`;
    const expected = contentOf(id, manifest.index);
    let at = 0;
    for (let number = 1; number <= manifest.parts.length; number++) {
      const part = await life.settle(folder.part(manifest, number));
      if (Buffer.compare(part, expected.subarray(at, at + part.length)) !== 0)
        return `the snapshot at ${manifest.index} holds something else`;
      at += part.length;
    }
    if (at !== expected.length) return `the snapshot at ${manifest.index} is too short`;
  }
  return folder.published;
}

function folderOf(life: StoreLife, id: PartitionId): SnapshotFolder {
  const folder = life.folders.get(id);
  if (folder === undefined) throw new Error('the store is not open');
  return folder;
}

function contentOf(id: PartitionId, index: number): Uint8Array {
  const line = `everything up to entry ${index} of partition ${id}\n`;
  return new TextEncoder().encode(line.repeat(lines));
}
