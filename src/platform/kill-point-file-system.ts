/** A disk that kills its process between two steps of a chain: what tests of the ledger's ordering run on (specification §5.5). */
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
  let chains = 0;
  return {
    get ioWriterMode() {
      return inner.ioWriterMode;
    },
    lockDirectory: (path) => inner.lockDirectory(path),
    makeDirectory: (path) => inner.makeDirectory(path),
    listDirectory: (path) => inner.listDirectory(path),
    readFile: (path) => inner.readFile(path),
    replaceFile: (path, bytes) => inner.replaceFile(path, bytes),
    createZeroed: (path, sizeBytes, pace) => inner.createZeroed(path, sizeBytes, pace),
    rename: (from, to) => inner.rename(from, to),
    link: (path, name) => inner.link(path, name),
    remove: (path) => inner.remove(path),
    syncDirectory: (path) => inner.syncDirectory(path),
    syncFile: (path) => inner.syncFile(path),
    open: (path, options) => inner.open(path, options),
    close: (file) => inner.close(file),
    size: (file) => inner.size(file),
    truncate: (file, sizeBytes) => inner.truncate(file, sizeBytes),
    read: (file, position, length) => inner.read(file, position, length),
    allocateStaging: (sizeBytes) => inner.allocateStaging(sizeBytes),
    submit: (chain, completion) => {
      chains++;
      if (chains < point.chain) {
        inner.submit(chain, completion);
      } else if (chains === point.chain) {
        const before = chain.slice(0, point.step);
        if (before.length === 0) point.kill();
        else inner.submit(before, point.kill);
      }
    },
  };
}
