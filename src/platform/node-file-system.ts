/**
 * The real disk.
 *
 * Chains run on a thread of their own (`chain-lane.ts`): `Direct` past the page cache with O_DIRECT | O_DSYNC, where a write is
 * durable when it returns and a sync step has nothing left to do; `Pooled` buffered with fdatasync, where the file system
 * refuses direct writes; `Blocking` on the loop, where there is no thread. The slow half uses the pool of libuv.
 *
 * The mode changes between chains: those submitted meanwhile wait, and open files get descriptors of the other kind.
 *
 * A sync step of a direct file is a real fdatasync in one case: after the file was truncated, which no write made durable.
 *
 * Handles are numbers of our own, not descriptors: the system gives a closed descriptor's number to the next file, and a
 * stale handle must not write there.
 */
import type { Stats } from 'node:fs';
import {
  link,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  rmdir,
  statfs,
  type FileHandle as NodeFileHandle,
} from 'node:fs/promises';
import { dirname, resolve as resolvePath } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { present } from '../base/assert.ts';
import { ClustorError, isClustorError } from '../base/errors.ts';
import type {
  DirectoryLock,
  DiskSpace,
  FileHandle,
  FileSystem,
  IoCompletion,
  IoStep,
  IoWriterFault,
  IoWriterMode,
  OpenOptions,
  ZeroPace,
} from '../ports/file-system.ts';
import { silentObserver, type Observer } from '../ports/observer.ts';
import { keepLockSpare, lockDirectory } from './directory-lock.ts';
import { ChainLane } from './chain-lane.ts';
import { DirectReads } from './direct-reads.ts';
import { codeOf, failed, readInto, syncPath, systemCodeOf, writeFully } from './node-file-io.ts';
import { commandKind, type ChainResult, type IoCommand, type SharedMemory } from './io-worker.ts';
import { OpenFile, openDirectly, reopenFiles } from './open-file.ts';

/** Options of {@link openNodeFileSystem}. */
export interface NodeFileSystemOptions {
  /** How chains reach the disk; the best one by default. */
  readonly mode?: IoWriterMode;
  readonly observer?: Observer;
}

/** Waits for the chains submitted before it. */
interface CompletionWaiter {
  readonly submittedCount: number;
  readonly resolve: () => void;
}

declare const WebAssembly: {
  readonly Memory: new (descriptor: {
    readonly initial: number;
    readonly maximum: number;
    readonly shared: true;
  }) => SharedMemory;
};

/** `EIO`. */
const inputOutputErrorNumber = -5;
const pageBytes = 65_536;
/** Staging memory of a process: reserved as addresses only, used as it is allocated. */
const memoryPagesMax = 8192;
const blockBytes = 4096;
const readBytes = 1024 * 1024;
const zeroSliceBytesMin = 64 * 1024;
/** Larger slices would hold up the chains beside them. */
const zeroSliceBytesMax = 256 * 1024;

/** Opens the disk. Costs one thread until {@link NodeFileSystem.shutDown}. */
export function openNodeFileSystem(options: NodeFileSystemOptions = {}): Promise<NodeFileSystem> {
  return Promise.resolve(new NodeFileSystem(options));
}

/** See the file comment. */
export class NodeFileSystem implements FileSystem {
  readonly #observer: Observer;
  readonly #memory: SharedMemory = new WebAssembly.Memory({
    initial: 1,
    maximum: memoryPagesMax,
    shared: true,
  });
  #allocated = 0;
  readonly #lane: ChainLane;
  /** The best mode that was asked for. */
  readonly #bestMode: IoWriterMode;
  /** Whether files for chains are reached past the page cache. */
  #isDirect: boolean;
  #isDirectRefused = false;
  #isThreadLost = false;
  /** A change of the mode, while it is under way, and the chains that wait for it. */
  #switching: Promise<IoWriterMode> | undefined;
  #held: (() => void)[] = [];
  /** A sync failed in a change of the mode: no chain runs any more. */
  #isBroken = false;
  readonly #files = new Map<FileHandle, OpenFile>();
  #nextHandle = 1;
  #submittedCount = 0;
  /** Chains complete in their order, so this tells which ones have. */
  #completedCount = 0;
  #completionWaiters: CompletionWaiter[] = [];
  readonly #directReads: DirectReads;
  /** Where the first read of a direct file goes; apart from the reads that somebody wants, which may be under way. */
  readonly #probeStaging: Uint8Array;

  constructor(options: NodeFileSystemOptions) {
    this.#observer = options.observer ?? silentObserver;
    this.#bestMode = options.mode ?? 'Direct';
    this.#isDirect = this.#bestMode === 'Direct';
    this.#directReads = new DirectReads(this.#memory, this.allocateStaging(readBytes));
    this.#probeStaging = this.allocateStaging(blockBytes);
    this.#lane = new ChainLane(this.#memory, {
      degraded: (message) => {
        this.#isThreadLost = true;
        this.#degraded('Blocking', message);
      },
      died: (message) => {
        this.#observer.emit({ level: 'error', kind: 'ioWriterDied', fields: { message } });
      },
    });
    if (this.#bestMode !== 'Blocking') this.#lane.start();
  }

  get ioWriterMode(): IoWriterMode {
    if (this.#lane.isOnLoop) return 'Blocking';
    return this.#isDirect ? 'Direct' : 'Pooled';
  }

  get ioWriterFault(): IoWriterFault | undefined {
    if (this.#lane.isOnLoop) return this.#isThreadLost ? 'ThreadLost' : undefined;
    return this.#isDirectRefused ? 'DirectRefused' : undefined;
  }

  switchIoWriterMode(mode: IoWriterMode): Promise<IoWriterMode> {
    const before = this.#switching;
    if (before !== undefined) return before.then(() => this.switchIoWriterMode(mode));
    const switched = this.#switch(mode);
    this.#switching = switched;
    const ended = (): void => {
      this.#switching = undefined;
      for (const run of this.#held.splice(0)) run();
    };
    switched.then(ended, ended);
    return switched;
  }

  async lockDirectory(path: string): Promise<DirectoryLock> {
    await this.makeDirectory(path);
    const lock = await lockDirectory(path);
    await keepLockSpare(path);
    return lock;
  }

  async makeDirectory(path: string): Promise<void> {
    const whole = resolvePath(path);
    let first: string | undefined;
    try {
      first = await mkdir(whole, { recursive: true });
    } catch (error) {
      throw failed('create', path, error);
    }
    if (first === undefined) return;
    for (let level = whole; level.length >= first.length; level = dirname(level))
      await this.syncDirectory(dirname(level));
  }

  async space(path: string): Promise<DiskSpace> {
    try {
      const { blocks, bavail, bsize } = await statfs(path);
      return { totalBytes: blocks * bsize, freeBytes: bavail * bsize };
    } catch (error) {
      throw failed('ask for the room at', path, error);
    }
  }

  async listDirectory(path: string): Promise<readonly string[]> {
    try {
      return (await readdir(path)).sort((left, right) => (left < right ? -1 : 1));
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return [];
      throw failed('list', path, error);
    }
  }

  async readFile(path: string): Promise<Uint8Array | undefined> {
    try {
      return await readFile(path);
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return undefined;
      throw failed('read', path, error);
    }
  }

  async replaceFile(path: string, bytes: Uint8Array): Promise<void> {
    const temporary = `${path}.new`;
    try {
      const handle = await open(temporary, 'w', 0o644);
      try {
        await handle.writeFile(bytes);
        await handle.sync();
      } finally {
        await handle.close();
      }
      await rename(temporary, path);
    } catch (error) {
      await removeQuietly(temporary);
      throw failed('replace', path, error);
    }
    await this.syncDirectory(dirname(path));
  }

  async createZeroed(path: string, sizeBytes: number, pace?: ZeroPace): Promise<void> {
    try {
      const handle = await open(path, 'w', 0o644);
      try {
        const zeros = Buffer.alloc(Math.min(zeroSliceBytesMax, sizeBytes));
        let sliceBytes = zeroSliceBytesMin;
        for (let position = 0; position < sizeBytes;) {
          const length = Math.min(sliceBytes, sizeBytes - position);
          await writeFully(handle, zeros, { length, position });
          await handle.datasync();
          position += length;
          sliceBytes = Math.min(sliceBytes * 2, zeroSliceBytesMax);
          if (pace !== undefined) await keepPace(pace, position, path);
        }
        await handle.sync();
      } finally {
        await handle.close();
      }
    } catch (error) {
      // Half a file would take from a full disk the room that others still need.
      await removeQuietly(path);
      throw isClustorError(error) ? error : failed('create', path, error);
    }
  }

  async rename(from: string, to: string): Promise<void> {
    try {
      await rename(from, to);
    } catch (error) {
      throw failed('rename', from, error);
    }
  }

  async link(path: string, name: string): Promise<void> {
    try {
      await link(path, name);
    } catch (error) {
      throw failed('link', path, error);
    }
  }

  async remove(path: string): Promise<void> {
    try {
      await rm(path, { force: true });
    } catch (error) {
      throw failed('remove', path, error);
    }
  }

  async removeDirectory(path: string): Promise<void> {
    try {
      await rmdir(path);
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw failed('remove', path, error);
    }
  }

  async syncDirectory(path: string): Promise<void> {
    await syncPath(path, (handle) => handle.sync());
  }

  async syncFile(path: string): Promise<void> {
    await syncPath(path, (handle) => handle.datasync());
  }

  async open(path: string, options: OpenOptions): Promise<FileHandle> {
    await this.#switching?.catch(() => undefined);
    const isDurable = options.access === 'durableWrite';
    try {
      const handle = isDurable && this.#isDirect ? await this.#openDirect(path) : undefined;
      if (handle !== undefined)
        return this.#register(new OpenFile(path, { handle, isDirect: true }, isDurable));
      const plain = await open(path, isDurable ? 'r+' : 'r');
      return this.#register(new OpenFile(path, { handle: plain, isDirect: false }, isDurable));
    } catch (error) {
      throw failed('open', path, error);
    }
  }

  async close(file: FileHandle): Promise<void> {
    const opened = this.#file(file);
    this.#files.delete(file);
    await this.#completedSoFar();
    // A change of the mode opens files anew through their descriptors: none may be another file's by then.
    await this.#switching?.catch(() => undefined);
    await opened.close();
  }

  async size(file: FileHandle): Promise<number> {
    const stats: Stats = await this.#file(file).use(({ handle }) => handle.stat());
    return stats.size;
  }

  async truncate(file: FileHandle, sizeBytes: number): Promise<void> {
    const opened = this.#file(file);
    try {
      await opened.use(({ handle }) => handle.truncate(sizeBytes));
    } catch (error) {
      throw failed('truncate', opened.path, error);
    } finally {
      opened.isSizeDirty = true;
    }
  }

  read(file: FileHandle, position: number, length: number): Promise<Uint8Array> {
    const opened = this.#file(file);
    const place = { path: opened.path, position };
    return opened.use((channel) =>
      channel.isDirect
        ? this.#directReads.read(channel, place, length)
        : readInto(channel, Buffer.alloc(length), place),
    );
  }

  allocateStaging(sizeBytes: number): Uint8Array {
    const start = this.#allocated;
    const end = start + Math.ceil(sizeBytes / blockBytes) * blockBytes;
    const missing = end - this.#memory.buffer.byteLength;
    if (missing > 0) this.#memory.grow(Math.ceil(missing / pageBytes));
    this.#allocated = end;
    return new Uint8Array(this.#memory.buffer, start, sizeBytes);
  }

  submit(chain: readonly IoStep[], completion: IoCompletion): void {
    const files = chain.map((step) => this.#file(step.file));
    this.#submittedCount++;
    const done = (result: ChainResult): void => {
      this.#completedCount++;
      if (result !== undefined) this.#expectSyncsAgain(chain);
      if (this.#completionWaiters.length > 0) this.#wakeCompletionWaiters();
      completion(
        result === undefined
          ? undefined
          : { stepIndex: result.stepIndex, systemCode: systemCodeOf(result.errorNumber) },
      );
    };
    if (this.#switching === undefined) this.#run(chain, files, done);
    else this.#held.push(() => this.#run(chain, files, done));
  }

  /** Closes all files, once the chains under way have completed, and ends the thread. */
  async shutDown(): Promise<void> {
    const files = [...this.#files.values()];
    this.#files.clear();
    await this.#completedSoFar();
    await this.#switching?.catch(() => undefined);
    for (const file of files) await file.close();
    await this.#lane.stop();
  }

  /** Its chains are those that were submitted before; the ones behind them wait in {@link submit}. */
  async #switch(mode: IoWriterMode): Promise<IoWriterMode> {
    await this.#completedSoFar();
    if (mode === 'Blocking') {
      await this.#lane.stop();
      this.#isThreadLost = false;
      return this.ioWriterMode;
    }
    if (this.#lane.isOnLoop) await this.#lane.restart();
    const isDirect = mode === 'Direct' && this.#bestMode === 'Direct' && !this.#isDirectRefused;
    const files = [...this.#files.values()];
    try {
      if (await reopenFiles(files, isDirect, this.#probeStaging)) this.#isDirect = isDirect;
    } catch (error) {
      this.#isBroken = true;
      throw failed('sync', 'the files of chains', error);
    }
    return this.ioWriterMode;
  }

  #degraded(mode: IoWriterMode, message: string): void {
    this.#observer.emit({ level: 'warn', kind: 'ioWriterDegraded', fields: { mode, message } });
  }

  /** Opens past the page cache; the first refusal makes all later files buffered ones. */
  async #openDirect(path: string): Promise<NodeFileHandle | undefined> {
    try {
      return await openDirectly(path, this.#probeStaging);
    } catch (error) {
      if (codeOf(error) !== 'EINVAL') throw error;
      this.#isDirect = false;
      this.#isDirectRefused = true;
      this.#degraded('Pooled', `${path}: the file system takes no direct writes`);
      return undefined;
    }
  }

  /** Runs a chain now. */
  #run(
    chain: readonly IoStep[],
    files: readonly OpenFile[],
    done: (result: ChainResult) => void,
  ): void {
    if (this.#isBroken) {
      setImmediate(done, { stepIndex: 0, errorNumber: inputOutputErrorNumber });
      return;
    }
    const at = (step: number): IoCommand | undefined => {
      const { [step]: wanted } = chain;
      return wanted && commandOf(wanted, present(files[step], 'its file'));
    };
    this.#lane.run({ length: chain.length, at }, done);
  }

  #register(file: OpenFile): FileHandle {
    const handle = this.#nextHandle++ as FileHandle;
    this.#files.set(handle, file);
    return handle;
  }

  #file(file: FileHandle): OpenFile {
    const opened = this.#files.get(file);
    if (opened === undefined)
      throw new ClustorError('CLUSTOR_STORAGE_FAILED', 'the file is not open');
    return opened;
  }

  /** A failed chain may not have reached its syncs, so the next ones are real whether a size was changed or not. */
  #expectSyncsAgain(chain: readonly IoStep[]): void {
    for (const step of chain) {
      const opened = this.#files.get(step.file);
      if (opened !== undefined && step.kind === 'sync') opened.isSizeDirty = true;
    }
  }

  /** Resolves once every chain submitted so far has completed, whatever is submitted meanwhile. */
  async #completedSoFar(): Promise<void> {
    const submittedCount = this.#submittedCount;
    if (this.#completedCount >= submittedCount) return;
    await new Promise<void>((resolve) => {
      this.#completionWaiters.push({ submittedCount, resolve });
    });
  }

  #wakeCompletionWaiters(): void {
    // They were added in the order of their counts.
    while ((this.#completionWaiters[0]?.submittedCount ?? Infinity) <= this.#completedCount)
      this.#completionWaiters.shift()?.resolve();
  }
}

async function removeQuietly(path: string): Promise<void> {
  await rm(path, { force: true }).catch(() => undefined);
}

/** Leaves the disk to others for as long as the pace says. @throws ClustorError `CLUSTOR_CLOSED` when it says to stop. */
async function keepPace(pace: ZeroPace, doneBytes: number, path: string): Promise<void> {
  const pauseMs = pace(doneBytes);
  if (pauseMs === 'stop')
    throw new ClustorError('CLUSTOR_CLOSED', `${path} is not needed any more`);
  if (pauseMs > 0) await pause(pauseMs);
}

function commandOf(step: IoStep, opened: OpenFile): IoCommand {
  const { handle, isDirect } = opened.channel;
  if (step.kind === 'write') {
    return {
      kind: commandKind.write,
      descriptor: handle.fd,
      offset: step.bytes.byteOffset,
      length: step.bytes.length,
      position: step.position,
    };
  }
  const isDone = isDirect && !opened.isSizeDirty;
  opened.isSizeDirty = false;
  return {
    kind: isDone ? commandKind.none : commandKind.sync,
    descriptor: handle.fd,
    offset: 0,
    length: 0,
    position: 0,
  };
}
