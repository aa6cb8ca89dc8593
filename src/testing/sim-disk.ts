/**
 * The disk of one simulated machine. It outlives the lives of the node that uses it.
 *
 * Directories know two states as files do: the names programs see, and the names on the medium. Changes in between wait
 * in a list; `syncDirectory` puts all of them on the medium, a power loss any subset (or, as journalling file systems have
 * it, any prefix). A rename is atomic: its two names change together or not at all.
 *
 * Faults are switched on from outside and take effect at the next step that meets them. Inspection reads what a power
 * loss at this instant could not take away.
 */
import { assert } from '../base/assert.ts';
import { ClustorError } from '../base/errors.ts';
import type { PrngState } from '../base/prng.ts';
import type { DiskSpace } from '../ports/file-system.ts';
import {
  applyChange,
  cloneDirectory,
  emptyDirectory,
  filesOf,
  keepChanges,
  loseChanges,
  normalizePath,
  pathWithin,
  splitPath,
  withRemoved,
  type RemovedDirectory,
  type SimDirectory,
} from './sim-directory.ts';
import type { SimFile, SyncMishap, UnsyncedSector } from './sim-disk-file.ts';

/** One thing that a power loss may take or leave. */
export type UnsyncedPart =
  | { readonly kind: 'name'; readonly directory: object; readonly position: number }
  | { readonly kind: 'size'; readonly file: SimFile }
  | { readonly kind: 'sector'; readonly file: SimFile; readonly sector: UnsyncedSector };

/** Where to stop a node: after `step` completed steps of a chain, or after a slow operation took effect and before it was told. */
export type KillPoint =
  | { readonly kind: 'chain'; readonly chain: number; readonly step: number }
  | { readonly kind: 'operation'; readonly operation: number };

interface ArmedKillPoint {
  readonly point: KillPoint;
  readonly callback: () => void;
}

/** Kinds of one-time failures. */
export type DiskFailureKind = 'sync' | 'write' | 'read' | 'rename' | 'directorySync';

/** Directories of a disk at most; a run that makes more is a runaway. */
const directoriesMax = 10_000;

/** A disk. */
export class SimDisk {
  /** Latencies are multiplied by it; 1 is healthy. */
  latencyFactor = 1;
  /** Whether new space is refused with `ENOSPC`. */
  isFull = false;
  /** Whether writes into space that files have already are refused as well, as a file system that copies on write does. */
  isFullForOverwrites = false;
  /** Whether the machine has no thread for chains: they run on the loop. */
  hasNoThread = false;
  /** Whether direct writes are refused, by a file system in memory for instance. */
  refusesDirect = false;
  /** Size of the medium as programs are told. */
  totalBytes: number = 2 ** 40;
  /** Room as programs are told while the disk is not full. */
  freeBytes: number = 2 ** 39;
  /** Chains submitted so far, over all lives: the number the next one gets. */
  chainCount = 0;
  /** Slow operations finished so far, over all lives: the number the next one gets. */
  operationCount = 0;
  /** Completed syncs of files. */
  syncCount = 0;
  /** Names that power losses took away, because their directory had not been synced. */
  namesLost = 0;
  /** Everything that changed names, bytes or what of them is on the medium. */
  effectCount = 0;
  readonly #directories = new Map<string, SimDirectory>([['', emptyDirectory()]]);
  readonly #locks = new Set<string>();
  readonly #failures = new Map<DiskFailureKind, string[]>();
  readonly #failuresAt = new Map<string, string>();
  #killPoints: ArmedKillPoint[] = [];
  #mishaps: SyncMishap[] = [];
  #parked: (() => void)[] = [];
  #isStalled = false;

  /** Whether nothing completes until {@link SimDisk.heal}. */
  get isStalled(): boolean {
    return this.#isStalled;
  }

  // Faults.

  /** From now on nothing completes. */
  stall(): void {
    this.#isStalled = true;
  }

  /** Lets what stalled go on. */
  resume(): void {
    this.#isStalled = false;
    const parked = this.#parked;
    this.#parked = [];
    for (const release of parked) release();
  }

  /** Ends every fault; damage done stays. */
  heal(): void {
    this.latencyFactor = 1;
    this.isFull = false;
    this.isFullForOverwrites = false;
    this.hasNoThread = false;
    this.refusesDirect = false;
    this.#failures.clear();
    this.#killPoints = [];
    this.#mishaps = [];
    this.resume();
  }

  /** The next step or operation of that kind fails with `systemCode`, once. */
  failNext(kind: DiskFailureKind, systemCode: string): void {
    const pending = this.#failures.get(kind);
    if (pending === undefined) this.#failures.set(kind, [systemCode]);
    else pending.push(systemCode);
  }

  /** Lets the next operation of a kind on the file at `path` fail; `directorySync` is the last step of replacing it. */
  failNextAt(path: string, kind: DiskFailureKind, systemCode: string): void {
    this.#failuresAt.set(`${kind} ${path}`, systemCode);
  }

  /** Flips a bit of a file at rest; whether there was such a byte. */
  flipBit(path: string, position: number, bit: number): boolean {
    const file = this.find(path);
    if (file === undefined || position >= file.sizeBytes) return false;
    file.flipBit(position, bit);
    return true;
  }

  /** Lets syncs go wrong without saying so, until `mishap` has done what it is there for. */
  arm(mishap: SyncMishap): void {
    this.#mishaps.push(mishap);
  }

  /** Puts everything written to a file on the medium, as far as it does what it says. */
  sync(file: SimFile): void {
    const before = this.#mishaps.length === 0 ? [] : file.dirtyPages();
    file.sync();
    this.effectCount++;
    this.syncCount++;
    if (before.length === 0) return;
    const path = this.paths().find((name) => this.find(name) === file);
    if (path === undefined) return;
    // One a sync: two could take away what each of them leaves.
    const spent = this.#mishaps.find((mishap) => mishap(path, file, before));
    this.#mishaps = this.#mishaps.filter((mishap) => mishap !== spent);
  }

  /** Calls back exactly when the named point is reached; before the next step begins and before anybody is told. */
  killAt(point: KillPoint, callback: () => void): void {
    this.#killPoints.push({ point, callback });
  }

  /** Keeps something that came due while stalled. */
  park(release: () => void): void {
    this.#parked.push(release);
  }

  /** Room as programs are told. */
  get space(): DiskSpace {
    const { totalBytes, freeBytes, isFull } = this;
    return { totalBytes, freeBytes: isFull ? 0 : freeBytes };
  }

  /** Whether a write that ends at `endOffset` finds no room. */
  refusesWrite(file: SimFile, endOffset: number): boolean {
    return this.isFullForOverwrites || (this.isFull && endOffset > file.sizeBytes);
  }

  /** Takes the failure the next step of that kind meets. */
  takeFailure(kind: DiskFailureKind, path?: string): string | undefined {
    const key = `${kind} ${path ?? ''}`;
    const systemCode = this.#failuresAt.get(key);
    this.#failuresAt.delete(key);
    return systemCode ?? this.#failures.get(kind)?.shift();
  }

  /** Tells that a point was reached. */
  reached(point: KillPoint): void {
    if (this.#killPoints.length === 0) return;
    const due = this.#killPoints.filter((armed) => isSamePoint(armed.point, point));
    if (due.length === 0) return;
    this.#killPoints = this.#killPoints.filter((armed) => !due.includes(armed));
    for (const armed of due) armed.callback();
  }

  // Names.

  /** The file of that path, if any. */
  find(path: string): SimFile | undefined {
    const { parent, name } = splitPath(path);
    return this.#directories.get(parent)?.names.get(name);
  }

  /** Names in a directory, sorted by code unit. */
  list(path: string): string[] {
    const directory = this.#directories.get(normalizePath(path));
    if (directory === undefined) return [];
    // The default order of strings is by code unit.
    return [...directory.names.keys(), ...directory.subdirectories].sort();
  }

  /** Makes a directory and its parents, durably. */
  makeDirectory(path: string): void {
    let parent = '';
    for (const name of normalizePath(path).split('/')) {
      if (name === '') continue;
      const own = pathWithin(parent, name);
      const above = this.#directory(parent, path);
      if (above.names.has(name)) throw diskError('ENOTDIR', path);
      if (!this.#directories.has(own)) {
        assert(this.#directories.size < directoriesMax, 'directories are bounded');
        this.#directories.set(own, emptyDirectory());
        above.subdirectories.add(name);
        // It is durable at once, so the one that had its name is gone for good.
        const removed = above.changes.findIndex(
          (change) => change.kind === 'removeDirectory' && change.name === name,
        );
        if (removed >= 0) above.changes.splice(removed, 1);
      }
      parent = own;
    }
  }

  /** Gives a file a name, replacing what had it. */
  link(path: string, file: SimFile): void {
    const { parent, name } = splitPath(path);
    const directory = this.#directory(parent, path);
    if (directory.subdirectories.has(name)) throw diskError('EISDIR', path);
    this.effectCount++;
    directory.names.set(name, file);
    directory.changes.push({ kind: 'link', name, file });
  }

  /** Renames within one directory. */
  rename(from: string, to: string): void {
    const source = splitPath(from);
    const target = splitPath(to);
    assert(source.parent === target.parent, 'a rename stays within its directory');
    const directory = this.#directory(source.parent, from);
    const file = directory.names.get(source.name);
    if (file === undefined) throw diskError('ENOENT', from);
    this.effectCount++;
    directory.names.delete(source.name);
    directory.names.set(target.name, file);
    directory.changes.push({ kind: 'rename', from: source.name, to: target.name, file });
  }

  /** Removes a name; nothing happens when there is none. */
  unlink(path: string): void {
    const { parent, name } = splitPath(path);
    const directory = this.#directories.get(parent);
    if (directory?.names.delete(name) !== true) return;
    this.effectCount++;
    directory.changes.push({ kind: 'unlink', name });
  }

  /** Removes an empty directory; nothing happens when there is none. */
  removeDirectory(path: string): void {
    const own = normalizePath(path);
    const { parent, name } = splitPath(path);
    const above = this.#directories.get(parent);
    if (above?.names.has(name) === true) throw diskError('ENOTDIR', path);
    const directory = this.#directories.get(own);
    if (above === undefined || directory === undefined) return;
    assert(own !== '', 'the root of a disk stays');
    if (directory.names.size + directory.subdirectories.size > 0)
      throw diskError('ENOTEMPTY', path);
    this.effectCount++;
    this.#directories.delete(own);
    above.subdirectories.delete(name);
    above.changes.push({ kind: 'removeDirectory', name, directory });
  }

  /** Puts the names of a directory on the medium. */
  syncDirectory(path: string): void {
    this.effectCount++;
    const directory = this.#directory(normalizePath(path), path);
    for (const change of directory.changes) applyChange(directory.syncedNames, change);
    directory.changes.length = 0;
  }

  /** Takes the lock of a directory; false when it is taken. */
  lock(path: string): boolean {
    const own = normalizePath(path);
    if (this.#locks.has(own)) return false;
    this.#locks.add(own);
    return true;
  }

  /** Gives a lock back. */
  unlock(path: string): void {
    this.#locks.delete(normalizePath(path));
  }

  // Crashes and copies.

  /** The machine lost power: any part of what was not synced is gone. */
  losePower(random: PrngState): void {
    const files = new Set<SimFile>();
    // Directories that come back are met in turn.
    for (const [path, directory] of this.#directories) {
      const before = new Set(directory.names.values());
      this.#bringBack(path, directory, loseChanges(directory, random));
      const left = new Set(directory.names.values());
      for (const file of before) if (!left.has(file)) this.namesLost++;
      for (const file of directory.names.values()) files.add(file);
    }
    for (const file of files) file.losePower(random);
  }

  /** Everything that a power loss at this instant may take or leave, in an order that copies of the disk share. */
  unsyncedParts(): UnsyncedPart[] {
    const parts: UnsyncedPart[] = [];
    for (const [, directory] of this.#everyDirectory())
      directory.changes.forEach((_, position) => parts.push({ kind: 'name', directory, position }));
    for (const file of this.#files()) {
      if (file.hasUnsyncedSize) parts.push({ kind: 'size', file });
      for (const sector of file.unsyncedSectors()) parts.push({ kind: 'sector', file, sector });
    }
    return parts;
  }

  /** A power loss that leaves exactly these of {@link SimDisk.unsyncedParts}, by their positions. */
  losePowerKeeping(kept: ReadonlySet<number>): void {
    const left = this.unsyncedParts().filter((_, at) => kept.has(at));
    const files = this.#files();
    for (const [path, directory] of this.#directories) {
      const positions = new Set(
        left.flatMap((part) =>
          part.kind === 'name' && part.directory === directory ? [part.position] : [],
        ),
      );
      const back = keepChanges(directory, (position) => positions.has(position));
      this.#bringBack(path, directory, back);
    }
    for (const file of files) {
      const sectors = left.flatMap((part) =>
        part.kind === 'sector' && part.file === file ? [part.sector] : [],
      );
      file.losePowerKeeping(
        sectors,
        left.some((part) => part.kind === 'size' && part.file === file),
      );
    }
  }

  /** A text that tells what is on the medium apart: names with the check sums of their files. */
  syncedFingerprint(): string {
    const rows: string[] = [];
    for (const [path, directory] of this.#everyDirectory())
      for (const [name, file] of directory.syncedNames)
        rows.push(`${path}/${name}:${file.syncedChecksum()}`);
    return rows.sort().join(' ');
  }

  #files(): Set<SimFile> {
    const files = new Set<SimFile>();
    for (const [, directory] of this.#everyDirectory())
      for (const file of filesOf(directory)) files.add(file);
    return files;
  }

  /** Also those that a power loss may bring back. */
  *#everyDirectory(): Iterable<readonly [string, SimDirectory]> {
    for (const [path, directory] of this.#directories) yield* withRemoved(path, directory);
  }

  #bringBack(path: string, above: SimDirectory, back: readonly RemovedDirectory[]): void {
    for (const { name, directory } of back) {
      above.subdirectories.add(name);
      this.#directories.set(pathWithin(path, name), directory);
    }
  }

  /** A disk with just what a power loss at this instant could not take away; free of faults and locks. */
  cloneSynced(): SimDisk {
    return this.#clone(true);
  }

  /** A disk with everything on this one, synced or not; free of faults and locks. */
  fork(): SimDisk {
    return this.#clone(false);
  }

  /** Synced bytes of a file whose name is synced, from `position` on; `undefined` when a power loss may take the file. */
  readSynced(
    path: string,
    position = 0,
    length: number = Number.MAX_SAFE_INTEGER,
  ): Uint8Array | undefined {
    return this.findSynced(path)?.read(position, length, 'synced');
  }

  /** The same of the whole file. */
  syncedBytes(path: string): Uint8Array | undefined {
    return this.readSynced(path);
  }

  /** Numbers of the 4,096-byte pages of a synced file that were ever written, rising. */
  syncedPageNumbers(path: string): number[] {
    return this.findSynced(path)?.syncedPageNumbers() ?? [];
  }

  /** Every file with its path, in order of creation of directories and names. */
  paths(): string[] {
    const paths: string[] = [];
    for (const [parent, directory] of this.#directories) {
      for (const name of directory.names.keys())
        paths.push(parent === '' ? `/${name}` : `/${parent}/${name}`);
    }
    return paths;
  }

  /** The file of that path, unless a power loss may take it. */
  findSynced(path: string): SimFile | undefined {
    const { parent, name } = splitPath(path);
    return this.#directories.get(parent)?.syncedNames.get(name);
  }

  #clone(syncedOnly: boolean): SimDisk {
    const copy = new SimDisk();
    const twins = new Map<SimFile, SimFile>();
    const twinOf = (file: SimFile): SimFile => {
      let twin = twins.get(file);
      if (twin === undefined) {
        twin = file.clone(syncedOnly);
        twins.set(file, twin);
      }
      return twin;
    };
    const directories = syncedOnly ? this.#everyDirectory() : this.#directories;
    for (const [path, directory] of directories)
      copy.#directories.set(path, cloneDirectory(directory, syncedOnly, twinOf));
    return copy;
  }

  #directory(normalized: string, path: string): SimDirectory {
    const directory = this.#directories.get(normalized);
    if (directory === undefined) throw diskError('ENOENT', path);
    return directory;
  }
}

/** The error of a slow operation that failed. */
export function diskError(systemCode: string, path: string): ClustorError {
  return new ClustorError('CLUSTOR_STORAGE_FAILED', `${systemCode}: ${path}`, {
    details: { systemCode, path },
  });
}

function isSamePoint(left: KillPoint, right: KillPoint): boolean {
  if (left.kind === 'chain')
    return right.kind === 'chain' && left.chain === right.chain && left.step === right.step;
  return right.kind === 'operation' && left.operation === right.operation;
}
