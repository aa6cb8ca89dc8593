/**
 * The real disk.
 *
 * Chains run on a thread of their own (`io-worker.ts`): `Direct` past the page cache with O_DIRECT | O_DSYNC, where a write is
 * durable when it returns and a sync step has nothing left to do; `Pooled` buffered with fdatasync, where the file system
 * refuses direct writes; `Blocking` on the loop, where no thread can be started. The slow half uses the pool of libuv.
 *
 * A sync step of a direct file is a real fdatasync in one case: after the file was truncated, which no write made durable.
 *
 * Handles are numbers of our own, not descriptors: the system gives a closed descriptor's number to the next file, and a
 * stale handle must not write there.
 */
import { constants, fdatasyncSync, writeSync, type Stats } from 'node:fs';
import {
  link,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  statfs,
  type FileHandle as NodeFileHandle,
} from 'node:fs/promises';
import { dirname, resolve as resolvePath } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { ClustorError, isClustorError, messageOf } from '../base/errors.ts';
import type {
  DirectoryLock,
  DiskSpace,
  FileHandle,
  FileSystem,
  IoCompletion,
  IoStep,
  IoWriterMode,
  OpenOptions,
  ZeroPace,
} from '../ports/file-system.ts';
import { silentObserver, type Observer } from '../ports/observer.ts';
import { keepLockSpare, lockDirectory } from './directory-lock.ts';
import {
  codeOf,
  failed,
  readInto,
  syncPath,
  systemCodeOf,
  writeFully,
  type OpenFile,
} from './node-file-io.ts';
import {
  commandKind,
  IoWorker,
  type ChainResult,
  type IoCommand,
  type SharedMemory,
} from './io-worker.ts';

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

const pageBytes = 65_536;
/** Staging memory of a process: reserved as addresses only, used as it is allocated. */
const memoryPagesMax = 8192;
const blockBytes = 4096;
const readBytes = 1024 * 1024;
const zeroSliceBytesMin = 64 * 1024;
/** Larger slices would hold up the chains beside them. */
const zeroSliceBytesMax = 256 * 1024;
/** `EIO`, where the system names no error. */
const inputOutputErrorNumber = -5;

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
  #worker: IoWorker | undefined;
  #mode: IoWriterMode;
  readonly #files = new Map<FileHandle, OpenFile>();
  #nextHandle = 1;
  #submittedCount = 0;
  /** Chains complete in their order, so this tells which ones have. */
  #completedCount = 0;
  #completionWaiters: CompletionWaiter[] = [];
  readonly #readStaging: Uint8Array;
  /** Where the first read of a direct file goes; apart from the reads that somebody wants, which may be under way. */
  readonly #probeStaging: Uint8Array;
  #reading: Promise<unknown> = Promise.resolve();

  constructor(options: NodeFileSystemOptions) {
    this.#observer = options.observer ?? silentObserver;
    this.#mode = options.mode ?? 'Direct';
    this.#readStaging = this.allocateStaging(readBytes);
    this.#probeStaging = this.allocateStaging(blockBytes);
    if (this.#mode !== 'Blocking') this.#startWorker();
  }

  get ioWriterMode(): IoWriterMode {
    return this.#mode;
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

  async syncDirectory(path: string): Promise<void> {
    await syncPath(path, (handle) => handle.sync());
  }

  async syncFile(path: string): Promise<void> {
    await syncPath(path, (handle) => handle.datasync());
  }

  async open(path: string, options: OpenOptions): Promise<FileHandle> {
    try {
      const isDirect = options.access === 'durableWrite' && this.#mode === 'Direct';
      const handle = isDirect ? await this.#openDirect(path) : undefined;
      if (handle !== undefined)
        return this.#register({ handle, path, isDirect: true, isSizeDirty: false });
      const plain = await open(path, options.access === 'read' ? 'r' : 'r+');
      return this.#register({ handle: plain, path, isDirect: false, isSizeDirty: false });
    } catch (error) {
      throw failed('open', path, error);
    }
  }

  async close(file: FileHandle): Promise<void> {
    const opened = this.#file(file);
    this.#files.delete(file);
    await this.#completedSoFar();
    await opened.handle.close();
  }

  async size(file: FileHandle): Promise<number> {
    const stats: Stats = await this.#file(file).handle.stat();
    return stats.size;
  }

  async truncate(file: FileHandle, sizeBytes: number): Promise<void> {
    const opened = this.#file(file);
    try {
      await opened.handle.truncate(sizeBytes);
    } catch (error) {
      throw failed('truncate', opened.path, error);
    } finally {
      opened.isSizeDirty = true;
    }
  }

  read(file: FileHandle, position: number, length: number): Promise<Uint8Array> {
    const opened = this.#file(file);
    if (!opened.isDirect) return readInto(opened, Buffer.alloc(length), position);
    // Direct reads go through one piece of aligned memory, one after the other.
    const result = this.#reading.then(() => this.#readDirect(opened, position, length));
    this.#reading = result.catch(() => undefined);
    return result;
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
    const commands = chain.map((step) => this.#commandOf(step));
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
    if (this.#worker !== undefined) this.#worker.run(commands, done);
    else setImmediate(() => done(runHere(commands, this.#memory)));
  }

  /** Closes all files, once the chains under way have completed, and ends the thread. */
  async shutDown(): Promise<void> {
    const files = [...this.#files.values()];
    this.#files.clear();
    await this.#completedSoFar();
    for (const { handle } of files) await handle.close();
    await this.#worker?.close();
  }

  #startWorker(): void {
    try {
      this.#worker = new IoWorker(this.#memory, (message) => {
        this.#observer.emit({ level: 'error', kind: 'ioWriterDied', fields: { message } });
      });
    } catch (error) {
      this.#mode = 'Blocking';
      this.#observer.emit({
        level: 'warn',
        kind: 'ioWriterDegraded',
        fields: { mode: 'Blocking', message: messageOf(error) },
      });
    }
  }

  /** Opens past the page cache; the first refusal makes all later files buffered ones. */
  async #openDirect(path: string): Promise<NodeFileHandle | undefined> {
    let handle: NodeFileHandle | undefined;
    try {
      // A host without these flags leaves them undefined, and an open with fewer flags would succeed.
      if (!constants.O_DIRECT || !constants.O_DSYNC)
        throw Object.assign(new Error('no direct writes on this host'), { code: 'EINVAL' });
      handle = await open(path, constants.O_RDWR | constants.O_DIRECT | constants.O_DSYNC);
      await handle.read(this.#probeStaging, 0, blockBytes, 0);
      return handle;
    } catch (error) {
      await handle?.close();
      if (codeOf(error) !== 'EINVAL') throw error;
      this.#mode = 'Pooled';
      this.#observer.emit({
        level: 'warn',
        kind: 'ioWriterDegraded',
        fields: { mode: 'Pooled', message: `${path}: the file system takes no direct writes` },
      });
      return undefined;
    }
  }

  async #readDirect(opened: OpenFile, position: number, length: number): Promise<Uint8Array> {
    const whole = new Uint8Array(length);
    let filled = 0;
    while (filled < length) {
      const part = Buffer.from(
        this.#memory.buffer,
        this.#readStaging.byteOffset,
        Math.min(readBytes, length - filled),
      );
      const read = await readInto(opened, part, position + filled);
      whole.set(read, filled);
      filled += read.length;
      if (read.length < part.length) break;
    }
    return whole.subarray(0, filled);
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

  #commandOf(step: IoStep): IoCommand {
    const opened = this.#file(step.file);
    if (step.kind === 'write') {
      return {
        kind: commandKind.write,
        descriptor: opened.handle.fd,
        offset: step.bytes.byteOffset,
        length: step.bytes.length,
        position: step.position,
      };
    }
    const isDone = opened.isDirect && !opened.isSizeDirty;
    opened.isSizeDirty = false;
    return {
      kind: isDone ? commandKind.none : commandKind.sync,
      descriptor: opened.handle.fd,
      offset: 0,
      length: 0,
      position: 0,
    };
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

function runHere(commands: readonly IoCommand[], memory: SharedMemory): ChainResult {
  for (const [stepIndex, command] of commands.entries()) {
    try {
      if (command.kind === commandKind.sync) fdatasyncSync(command.descriptor);
      if (command.kind !== commandKind.write) continue;
      const bytes = Buffer.from(memory.buffer, command.offset, command.length);
      for (let done = 0; done < bytes.length;) {
        const written = writeSync(
          command.descriptor,
          bytes,
          done,
          bytes.length - done,
          command.position + done,
        );
        if (written === 0) return { stepIndex, errorNumber: inputOutputErrorNumber };
        done += written;
      }
    } catch (error) {
      return {
        stepIndex,
        errorNumber:
          error instanceof Error && 'errno' in error ? Number(error.errno) : inputOutputErrorNumber,
      };
    }
  }
  return undefined;
}
