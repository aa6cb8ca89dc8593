/** What scenarios with snapshots say in one word: a node goes away, the others go on without its entries, it comes back. */
import { expect } from 'vitest';

import { present } from '../../src/base/assert.ts';
import { logIndex, term, type LogIndex, type NodeId } from '../../src/base/ids.ts';
import {
  contentHashOf,
  decodeManifest,
  encodeManifest,
} from '../../src/codec/snapshot-manifest.ts';
import { termAt } from '../../src/raft/index.ts';
import { nodeCryptography } from '../../src/security/node-cryptography.ts';
import { SimFile } from '../../src/testing/sim-disk-file.ts';
import type { SimDisk } from '../../src/testing/sim-disk.ts';
import type { CrashKind } from '../../src/testing/sim-file-system.ts';
import type { ScenarioCluster } from './scenario-cluster.ts';

/** The partition of these clusters. */
export const onlyPartition = '018c0d6c-9c11-7e9d-8000-000000000001';

/** Where a node keeps the snapshots of the partition. */
export const snapshotsPath = `/data/partitions/${onlyPartition}/snapshot`;

/** A leader keeps the entries that a follower lacks for so long after it was last heard, milliseconds; a little more. */
export const forgottenMs = 10_500;

/** Entries behind a snapshot that somebody fetched stay for another ten seconds. */
const compactedMsMax = 15_000;

/** Places of the whole snapshots on a node's disk, whether it is up or not. */
export function snapshotsOn(cluster: ScenarioCluster, id: NodeId): readonly number[] {
  const disk = cluster.world.disk(id);
  return disk
    .list(snapshotsPath)
    .filter((name) => disk.find(`${snapshotsPath}/${name}/manifest.json`) !== undefined)
    .map((name) => Number(name.split('-')[1]))
    .toSorted((left, right) => left - right);
}

/** Entry behind which the log of a node begins. */
export function baseOf(cluster: ScenarioCluster, id: NodeId): LogIndex {
  return cluster.replica(id).state.log.baseIndex;
}

/** Takes a snapshot on a node; the entry up to which it reaches. */
export async function takeSnapshot(cluster: ScenarioCluster, id: NodeId): Promise<LogIndex> {
  const { index } = await cluster.settle(cluster.partition(id).takeSnapshot());
  return index;
}

/** Takes a snapshot of the same state on each of some nodes, and waits until their logs begin behind it. */
export async function compact(cluster: ScenarioCluster, ids: readonly NodeId[]): Promise<LogIndex> {
  const all = async (what: string, holds: (id: NodeId) => boolean): Promise<void> =>
    cluster.until(`${what} on each of these nodes`, () => ids.every(holds), compactedMsMax);
  const lastOf = (id: NodeId): LogIndex => cluster.replica(id).state.log.lastIndex;
  const last = (): number => Math.max(...ids.map(lastOf));
  await all('everything is applied', (id) => cluster.replica(id).apply.appliedIndex === last());
  const newest = last();
  for (const id of ids) expect(await takeSnapshot(cluster, id)).toBe(newest);
  await all(
    'the log begins behind its snapshot, durably',
    (id) => cluster.replica(id).log.durableBaseIndex === newest,
  );
  return logIndex(newest);
}

function pathOf(disk: SimDisk, index: number): string {
  const name = disk.list(snapshotsPath).find((one) => one.endsWith(`-${index}`));
  return `${snapshotsPath}/${present(name, 'there is such a snapshot')}`;
}

/** Flips a bit of a snapshot at rest: done twice, it is as it was. */
export function spoilSnapshot(
  cluster: ScenarioCluster,
  id: NodeId,
  { index, what = 'part' }: { readonly index: number; readonly what?: 'part' | 'manifest' },
): void {
  const disk = cluster.world.disk(id);
  const file = what === 'part' ? 'chunks/000001' : 'manifest.json';
  expect(disk.flipBit(`${pathOf(disk, index)}/${file}`, 3, 2)).toBe(true);
}

/** Puts a snapshot beside one of a node that differs from it in its term, whole and with the right hashes. */
export function forgeSnapshot(cluster: ScenarioCluster, id: NodeId, index: LogIndex): void {
  const disk = cluster.world.disk(id);
  const bytesOf = (path: string): Uint8Array => {
    const file = present(disk.find(path), 'a snapshot is whole');
    return file.read(0, file.sizeBytes, 'cache');
  };
  const own = pathOf(disk, index);
  const sha256 = (bytes: Uint8Array): Uint8Array => nodeCryptography.sha256(bytes);
  const manifest = decodeManifest(bytesOf(`${own}/manifest.json`), { path: own, sha256 });
  const newer = term(manifest.term + 1);
  const content = { ...manifest, term: newer, knownTerm: term(manifest.knownTerm + 1) };
  const forged = encodeManifest({ ...content, contentHash: contentHashOf(content, sha256) });
  const path = `${snapshotsPath}/${newer}-${index}`;
  disk.makeDirectory(`${path}/chunks`);
  const write = (name: string, bytes: Uint8Array): void => {
    const file = new SimFile();
    file.write(0, bytes);
    file.sync();
    disk.link(`${path}/${name}`, file);
  };
  for (const name of disk.list(`${own}/chunks`))
    write(`chunks/${name}`, bytesOf(`${own}/chunks/${name}`));
  write('manifest.json', forged);
  disk.syncDirectory(`${path}/chunks`);
  disk.syncDirectory(path);
}

/** Ends a node behind so many changes of its disk, counted from now; false where nothing more changes. */
export async function dieAtChange(
  cluster: ScenarioCluster,
  id: NodeId,
  { change, kind }: { readonly change: number; readonly kind: CrashKind },
): Promise<boolean> {
  const disk = cluster.world.disk(id);
  const last = disk.effectCount + change;
  if (!(await cluster.untilEvent(() => disk.effectCount >= last, 2_000))) return false;
  cluster.crash(id, kind);
  return true;
}

/** Begins a node that hears nobody; waits until its machine has its state back, or until it misses a snapshot. */
export async function startAlone(
  cluster: ScenarioCluster,
  id: NodeId,
  until: 'restored' | 'missing' | 'either' = 'restored',
): Promise<void> {
  cluster.isolate(id);
  cluster.start(id);
  const hasBegun = (): boolean => {
    if (!cluster.areAllUp([id])) return false;
    const { apply, gate } = cluster.replica(id);
    const isRestored = until !== 'missing' && !apply.isRestoring;
    return isRestored || (until !== 'restored' && gate.lacksSnapshot);
  };
  await cluster.until(`it has begun, ${until}`, hasBegun);
}

/** Waits until every node has recovered, holds and has applied everything. */
export async function allEqual(cluster: ScenarioCluster): Promise<void> {
  const isEqual = (id: NodeId, leader: NodeId): boolean => {
    const [{ state, apply, gate }, ahead] = [cluster.replica(id), cluster.replica(leader).state];
    return (
      state.log.lastIndex === ahead.log.lastIndex &&
      termAt(state.log, state.log.lastIndex) === termAt(ahead.log, ahead.log.lastIndex) &&
      apply.appliedIndex === state.log.lastIndex &&
      !gate.lacksSnapshot &&
      cluster.digest(id) === cluster.digest(leader)
    );
  };
  const isSettled = (): boolean => {
    const leader = cluster.areAllUp() ? cluster.leader() : undefined;
    return leader !== undefined && cluster.nodeIds.every((id) => isEqual(id, leader));
  };
  await cluster.until('everybody has applied everything', isSettled, 60_000);
}
