/** A look at what a power loss at this instant would leave of a simulated disk for sure. */
import { createPrng } from '../base/prng.ts';
import type { SimDisk } from './sim-disk.ts';
import { SimFileSystem } from './sim-file-system.ts';
import { LifeScope, SimScheduler } from './sim-scheduler.ts';

/** A copy of a disk's synced layer, to run recovery on. */
export interface DiskInspection {
  readonly fileSystem: SimFileSystem;
  /** Own virtual time: run it until the recovery's promise has settled. */
  readonly scheduler: SimScheduler;
}

/** Opens a copy of what a power loss at this instant would leave for sure. */
export function openInspection(disk: SimDisk): DiskInspection {
  const scheduler = new SimScheduler();
  const parts = {
    disk: disk.cloneSynced(),
    scheduler,
    scope: new LifeScope(0),
    random: createPrng(1),
  };
  return { fileSystem: new SimFileSystem({ ...parts, ioWriterMode: 'Direct' }), scheduler };
}
