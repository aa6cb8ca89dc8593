/**
 * A disk that kills its process between two steps of a chain: what tests of the ledger's ordering run on (specification §5.5).
 *
 * Chains before the point complete first, also where the point is the very start of its chain: what is on the disk at the
 * kill depends on the point alone, never on how busy the disk was.
 */
import type { FileSystem } from '../ports/file-system.ts';

/** Where the process dies. */
export interface KillPoint {
  /** The chain, counted from 1. */
  readonly chain: number;
  /** After so many of its steps; 0 kills before the first. */
  readonly step: number;
  /** Kills the process; must not return to a process that goes on. */
  readonly kill: () => void;
}

/** Wraps a disk: everything as before, until the kill point. */
export function killPointFileSystem(inner: FileSystem, point: KillPoint): FileSystem {
  let chainCount = 0;
  let underWayCount = 0;
  let isArmed = false;
  const killWhenQuiet = (): void => {
    if (!isArmed || underWayCount > 0) return;
    isArmed = false;
    point.kill();
  };
  return {
    get ioWriterMode() {
      return inner.ioWriterMode;
    },
    get ioWriterFault() {
      return inner.ioWriterFault;
    },
    switchIoWriterMode: (mode) => inner.switchIoWriterMode(mode),
    lockDirectory: (path) => inner.lockDirectory(path),
    space: (path) => inner.space(path),
    makeDirectory: (path) => inner.makeDirectory(path),
    listDirectory: (path) => inner.listDirectory(path),
    readFile: (path) => inner.readFile(path),
    replaceFile: (path, bytes) => inner.replaceFile(path, bytes),
    createZeroed: (path, sizeBytes, pace) => inner.createZeroed(path, sizeBytes, pace),
    rename: (from, to) => inner.rename(from, to),
    link: (path, name) => inner.link(path, name),
    remove: (path) => inner.remove(path),
    removeDirectory: (path) => inner.removeDirectory(path),
    syncDirectory: (path) => inner.syncDirectory(path),
    syncFile: (path) => inner.syncFile(path),
    open: (path, options) => inner.open(path, options),
    close: (file) => inner.close(file),
    size: (file) => inner.size(file),
    truncate: (file, sizeBytes) => inner.truncate(file, sizeBytes),
    read: (file, position, length) => inner.read(file, position, length),
    allocateStaging: (sizeBytes) => inner.allocateStaging(sizeBytes),
    submit: (chain, completion) => {
      chainCount++;
      if (chainCount > point.chain) return;
      const isChosen = chainCount === point.chain;
      const steps = isChosen ? chain.slice(0, point.step) : chain;
      isArmed = isChosen;
      if (isChosen && steps.length === 0) {
        killWhenQuiet();
        return;
      }
      underWayCount++;
      inner.submit(steps, (failure) => {
        underWayCount--;
        if (!isChosen) completion(failure);
        killWhenQuiet();
      });
    },
  };
}
