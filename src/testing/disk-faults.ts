/** Faults of disks: those that end, and damage that stays. */
import { present, unreachable } from '../base/assert.ts';
import type { DiskPlace } from './damage-map.ts';
import type { FaultHooks } from './fault-install.ts';
import type { FaultAction } from './fault-plan.ts';
import { isHurtLedger, journalPages } from './write-mishaps.ts';
import { pageBytes } from './sim-disk-file.ts';
import type { SimDisk } from './sim-disk.ts';
import type { SimWorld } from './sim-world.ts';

/** Lets a disk fail for once or for a while; whether it did. */
export function applyDiskFault(
  world: SimWorld,
  action: Extract<
    FaultAction,
    {
      kind: 'failedSync' | 'failedWrite' | 'slowDisk' | 'stalledDisk' | 'fullDisk';
    }
  >,
): boolean {
  const disk = world.disk(action.nodeId);
  switch (action.kind) {
    case 'failedSync':
      disk.failNext('sync', 'EIO');
      return true;
    case 'failedWrite':
      disk.failNext('write', action.systemCode);
      return true;
    case 'slowDisk':
      disk.latencyFactor = action.factor;
      world.after(action.forMs, () => void (disk.latencyFactor = 1));
      return true;
    case 'stalledDisk':
      disk.stall();
      world.after(action.forMs, () => disk.resume());
      return true;
    case 'fullDisk':
      disk.isFull = true;
      world.after(action.forMs, () => void (disk.isFull = false));
      return true;
    default:
      return unreachable(action);
  }
}

/** Harms what stands on a disk, where whoever keeps the books allows it; whether it did. */
export function damage(
  world: SimWorld,
  action: Extract<FaultAction, { kind: 'readError' | 'bitRot' }>,
  { mayDamage }: FaultHooks,
): boolean {
  const { nodeId } = action;
  const disk = world.disk(nodeId);
  if (action.kind === 'readError') {
    if (mayDamage?.(nodeId, undefined) !== true) return false;
    disk.failNext('read', 'EIO');
    return true;
  }
  const place = rottenPlace(disk, action);
  // Where one copy of a flush is gone, the other one stays: nobody could tell a lost flush from one that never was.
  if (place === undefined || isHurtLedger(disk.find(place.path))) return false;
  if (mayDamage?.(nodeId, [place]) !== true) return false;
  return disk.flipBit(place.path, place.position, place.position & 7);
}

/** A byte of a page that holds something. */
function rottenPlace(
  disk: SimDisk,
  rot: Extract<FaultAction, { kind: 'bitRot' }>,
): DiskPlace | undefined {
  const { isOfJournal, fileFraction, byteFraction } = rot;
  const files = disk.paths().flatMap((path) => {
    const pages = isOfJournal ? journalPages(disk, path) : disk.syncedPageNumbers(path);
    return pages.length > 0 ? [{ path, pages }] : [];
  });
  // A start reads the newest files.
  const fraction = isOfJournal ? Math.sqrt(fileFraction) : fileFraction;
  const file = files[Math.floor(fraction * files.length)];
  if (file === undefined) return undefined;
  const { path, pages } = file;
  const at = byteFraction * pages.length;
  const page = present(pages[Math.floor(at)], 'the fraction lies below 1');
  const inPage = Math.floor((at % 1) * pageBytes);
  const sizeBytes = disk.syncedBytes(path)?.length ?? 0;
  return { path, position: Math.min(sizeBytes - 1, page * pageBytes + inPage) };
}
