/**
 * What storage needs from a disk.
 *
 * Two halves. The slow half is promise-based and used at start, at rotation and in the background. The hot half is
 * {@link FileSystem.submit}: a *chain* of writes and syncs that run in order, off the loop, in one hop; the completion
 * tells that all of them succeeded, or the first one that did not (the steps behind it have not been started).
 *
 * Contract for implementers (a conformance suite in `clustor/testing` holds them to it):
 * - A completed `sync` step means: every earlier completed write to that file survives power loss.
 * - Without a sync any subset of the written sectors may survive, in any order.
 * - Creations, renames and removals survive power loss only after `syncDirectory` of the parent.
 * - Chains run one after the other in the order they were submitted; completions arrive in that order.
 * - Bytes of a submitted write stay untouched by the caller until the completion. A step's `bytes` may be laid out when they are
 *   first asked for: a disk asks step by step, in order, and may be at work on the earlier ones by then.
 */
import type { Brand } from '../base/ids.ts';

/** An open file. @public */
export type FileHandle = Brand<number, 'FileHandle'>;

/** How syncs are done (specification §5.1): 0 Direct, 1 Pooled, 2 Blocking. @public */
export type IoWriterMode = 'Direct' | 'Pooled' | 'Blocking';

/**
 * Why a file system left a mode by itself: it takes no direct writes, or the thread that runs chains could not be started or
 * has ended. @public
 */
export type IoWriterFault = 'DirectRefused' | 'ThreadLost';

/** One step of a chain. @public */
export type IoStep =
  | {
      readonly kind: 'write';
      readonly file: FileHandle;
      readonly position: number;
      readonly bytes: Uint8Array;
    }
  | { readonly kind: 'sync'; readonly file: FileHandle };

/** The step that failed. @public */
export interface IoFailure {
  /** Position of the failed step in the chain. */
  readonly stepIndex: number;
  /** The operating system's code: `EIO`, `ENOSPC`, … */
  readonly systemCode: string;
}

/** Called once per chain. @public */
export type IoCompletion = (failure: IoFailure | undefined) => void;

/** Keeps other processes out of a data directory (KER-13). @public */
export interface DirectoryLock {
  release(): Promise<void>;
}

/** How a file is opened. @public */
export interface OpenOptions {
  /**
   * `read`: must exist. `durableWrite`: must exist, for chains; written past the page cache where the disk allows it;
   * such a file's reads bypass the page cache as well.
   */
  readonly access: 'read' | 'durableWrite';
}

/**
 * How long the disk is left to others before the next slice of a file that nobody waits for, milliseconds, given the bytes
 * that are written; `stop` ends the work, and the call fails with `CLUSTOR_CLOSED`. @public
 */
export type ZeroPace = (doneBytes: number) => number | 'stop';

/** Room on the file system that holds a path. @public */
export interface DiskSpace {
  readonly totalBytes: number;
  /** What this process may still take. */
  readonly freeBytes: number;
}

/** A disk. @public */
export interface FileSystem {
  /** How chains reach the disk; reported in every DurabilityAck. */
  readonly ioWriterMode: IoWriterMode;
  /** Why the present mode came by itself; `undefined` for one that was asked for. */
  readonly ioWriterFault: IoWriterFault | undefined;
  /**
   * Goes over to another mode once the chains submitted so far have completed; those submitted meanwhile run in the new one.
   * What a durable-write file holds is synced before it is written past the page cache. Resolves with the mode that is in force
   * then, another one where the wanted one cannot be had.
   * @throws ClustorError `CLUSTOR_STORAGE_FAILED` when that sync fails: nothing may be believed of the files (KER-10).
   */
  switchIoWriterMode(mode: IoWriterMode): Promise<IoWriterMode>;
  /**
   * Takes the exclusive lock of a directory (created if missing) before anything in it is read.
   * @throws ClustorError `CLUSTOR_DATA_DIRECTORY_LOCKED` that names the pid of the holder.
   */
  lockDirectory(path: string): Promise<DirectoryLock>;
  /** Room on the file system that holds an existing path. */
  space(path: string): Promise<DiskSpace>;
  /** Creates a directory and its parents; each created level is synced into its parent. */
  makeDirectory(path: string): Promise<void>;
  /** Names in a directory, sorted by code unit; empty when the directory does not exist. */
  listDirectory(path: string): Promise<readonly string[]>;
  /** The whole content, or `undefined` when there is no such file. */
  readFile(path: string): Promise<Uint8Array | undefined>;
  /** Replaces a file so that after power loss either the old or the new content is there: temp, sync, rename, sync directory. A call that fails leaves the old one alone. */
  replaceFile(path: string, bytes: Uint8Array): Promise<void>;
  /**
   * Creates (or overwrites from the start) a file of `sizeBytes` zero bytes, written and synced in slices; its directory
   * entry is *not* synced. Without a pace the slices follow each other at once. A call that fails leaves no file behind.
   */
  createZeroed(path: string, sizeBytes: number, pace?: ZeroPace): Promise<void>;
  /** Renames within one directory; durable after `syncDirectory`. */
  rename(from: string, to: string): Promise<void>;
  /** Gives a file a second name in its directory, which must be free; durable after `syncDirectory`. */
  link(path: string, name: string): Promise<void>;
  /** Removes a file; no error when it is gone already. */
  remove(path: string): Promise<void>;
  /** Removes an empty directory; no error when it is gone already; durable after `syncDirectory` of its parent. */
  removeDirectory(path: string): Promise<void>;
  /** Makes creations, renames and removals in `path` durable. */
  syncDirectory(path: string): Promise<void>;
  /** Makes a file's content durable whatever wrote it: a real fdatasync, past any mode (KER-11). */
  syncFile(path: string): Promise<void>;
  /** Opens a file. */
  open(path: string, options: OpenOptions): Promise<FileHandle>;
  /** Closes a file after chains submitted before have completed. */
  close(file: FileHandle): Promise<void>;
  /** Size in bytes. */
  size(file: FileHandle): Promise<number>;
  /** Cuts (or extends with zeros) a file; durable after a sync. */
  truncate(file: FileHandle, sizeBytes: number): Promise<void>;
  /** Reads up to `length` bytes at `position`; shorter only at the end of the file. Positions and lengths on durable-write files are multiples of 4,096. */
  read(file: FileHandle, position: number, length: number): Promise<Uint8Array>;
  /** Memory for bytes of chains: 4,096-aligned, zeroed, reachable by whatever performs the write. Never given back. */
  allocateStaging(sizeBytes: number): Uint8Array;
  /** Runs a chain. Write positions and lengths are multiples of 4,096, bytes come from {@link FileSystem.allocateStaging}. */
  submit(chain: readonly IoStep[], completion: IoCompletion): void;
}
