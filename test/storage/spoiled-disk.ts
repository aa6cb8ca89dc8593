/** A simulated disk that does not give back a block. */
import { vi } from 'vitest';

import { present } from '../../src/base/assert.ts';
import type { FileHandle } from '../../src/ports/file-system.ts';
import { diskError } from '../../src/testing/sim-disk.ts';
import { SimFileSystem } from '../../src/testing/sim-file-system.ts';
import type { StoreWorld } from './store-world.ts';

/** From now on the disk refuses the block at a place of a file, until mocks are restored. */
export function spoil({ disk }: StoreWorld, path: string, position: number): void {
  const spoiled = present(disk.find(path), path);
  const { open, read: readFile } = SimFileSystem.prototype;
  const files = new WeakMap<SimFileSystem, Set<FileHandle>>();
  vi.spyOn(SimFileSystem.prototype, 'open').mockImplementation(async function (
    this: SimFileSystem,
    name,
    options,
  ) {
    const file = await open.call(this, name, options);
    if (disk.find(name) === spoiled) files.set(this, (files.get(this) ?? new Set()).add(file));
    return file;
  });
  vi.spyOn(SimFileSystem.prototype, 'read').mockImplementation(function (
    this: SimFileSystem,
    file,
    from,
    length,
  ) {
    const isHit =
      files.get(this)?.has(file) === true && from <= position && position < from + length;
    return isHit ? Promise.reject(diskError('EIO', path)) : readFile.call(this, file, from, length);
  });
}
