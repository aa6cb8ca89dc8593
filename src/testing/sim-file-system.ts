/**
 * The file system of one life over its machine's {@link SimDisk}.
 *
 * Chains run step by step, each step an event of its own, so that a crash can fall between any two of them. A write takes
 * effect when its step completes; it is durable only after a later completed sync step, whatever the mode (the strictest
 * reading of the port). A crash finds the chains in flight somewhere: a few more steps may happen, the one after them
 * partly, the rest not at all. Slow operations in flight happen wholly, partly or not.
 *
 * Bytes of a submitted write must stay untouched until its completion; a checksum catches callers that do not obey.
 */
import { assert, present } from '../base/assert.ts';
import { ClustorError } from '../base/errors.ts';
import { nextBelow, nextFloat, type PrngState } from '../base/prng.ts';
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
} from '../ports/file-system.ts';
import { assertAligned, checksumOf, type SubmittedChain } from './sim-chain-checks.ts';
import { SimFile, pageBytes, sectorBytes } from './sim-disk-file.ts';
import { diskError, type DiskFailureKind, type SimDisk } from './sim-disk.ts';
import { SimWriterMode } from './sim-writer-mode.ts';
import {
  type LifeScope,
  type SimScheduler,
  simEventKinds,
  simTask,
  type SimTask,
} from './sim-scheduler.ts';

/** How a life ends: the machine loses power, or only the process is killed and what it wrote stays readable. */
export type CrashKind = 'powerLoss' | 'processKill';

/** What a {@link SimFileSystem} is made of. */
export interface SimFileSystemParts {
  readonly disk: SimDisk;
  readonly scheduler: SimScheduler;
  readonly scope: LifeScope;
  readonly random: PrngState;
  readonly ioWriterMode: IoWriterMode;
}

interface OpenFile {
  readonly file: SimFile;
  readonly path: string;
  readonly access: OpenOptions['access'];
}

interface Operation {
  /** Takes effect. */
  readonly apply: () => void;
  /** Takes part of the effect, when a crash falls into it. */
  readonly interrupt: (() => void) | undefined;
}

/** Chains waiting at most. */
const chainsWaitingMax = 65_536;

/** A {@link FileSystem} on virtual time. */
export class SimFileSystem implements FileSystem {
  readonly #writer: SimWriterMode;
  readonly #disk: SimDisk;
  readonly #scheduler: SimScheduler;
  readonly #scope: LifeScope;
  readonly #random: PrngState;
  readonly #files = new Map<FileHandle, OpenFile>();
  readonly #locks = new Set<string>();
  readonly #operations = new Set<Operation>();
  readonly #stepTask: SimTask;
  #chains: SubmittedChain[] = [];
  #chainHead = 0;
  #nextHandle = 1;
  /** A kill point stopped this life between two steps: nothing more happens. */
  #isBetweenSteps = false;

  constructor(parts: SimFileSystemParts) {
    this.#writer = new SimWriterMode(parts.disk, parts.ioWriterMode);
    this.#disk = parts.disk;
    this.#scheduler = parts.scheduler;
    this.#scope = parts.scope;
    this.#random = parts.random;
    this.#stepTask = simTask(parts.scope, simEventKinds.diskStep, () => this.#finishStep());
  }

  get ioWriterMode(): IoWriterMode {
    return this.#writer.mode;
  }

  get ioWriterFault(): IoWriterFault | undefined {
    return this.#writer.fault;
  }

  switchIoWriterMode(mode: IoWriterMode): Promise<IoWriterMode> {
    return new Promise((resolve, reject) => {
      this.submit([], () => {
        const chained = [...this.#files.values()].filter((row) => row.access === 'durableWrite');
        const codes = mode === 'Direct' ? chained.map(({ file }) => this.#sync(file)) : [];
        const systemCode = codes.find((code) => code !== undefined);
        if (systemCode === undefined) resolve(this.#writer.change(mode));
        else reject(diskError(systemCode, 'the files of chains'));
        this.#scheduler.requestDrain();
      });
    });
  }

  lockDirectory(path: string): Promise<DirectoryLock> {
    return this.#operate(path, () => {
      this.#disk.makeDirectory(path);
      if (!this.#disk.lock(path)) {
        throw new ClustorError(
          'CLUSTOR_DATA_DIRECTORY_LOCKED',
          `${path} is in use by process ${this.#scope.number}`,
          {
            details: { path, pid: this.#scope.number },
          },
        );
      }
      this.#locks.add(path);
      return { release: () => this.#releaseLock(path) };
    });
  }

  /** Told at once: nothing depends on when it was asked. */
  space(): Promise<DiskSpace> {
    this.#scheduler.requestDrain();
    return Promise.resolve(this.#disk.space);
  }

  makeDirectory(path: string): Promise<void> {
    return this.#operate(path, () => this.#disk.makeDirectory(path));
  }

  listDirectory(path: string): Promise<readonly string[]> {
    return this.#operate(path, () => this.#disk.list(path));
  }

  readFile(path: string): Promise<Uint8Array | undefined> {
    return this.#operate(path, () => {
      const file = this.#disk.find(path);
      if (file === undefined) return undefined;
      this.#meetReadFailure(path);
      return file.read(0, file.sizeBytes, 'cache');
    });
  }

  replaceFile(path: string, bytes: Uint8Array): Promise<void> {
    const content = bytes.slice();
    const write = (to: string): void => {
      const file = new SimFile();
      file.write(0, content);
      file.sync();
      this.#disk.link(to, file);
    };
    const apply = (): void => {
      this.#meetFullDisk(path);
      this.#meetFailure(path, 'write');
      this.#meetFailure(path, 'sync');
      this.#meetFailure(path, 'rename');
      write(path);
      // The new file is in its place, and a power loss may bring the old one back.
      this.#meetFailure(path, 'directorySync');
      this.#disk.syncDirectory(path.slice(0, Math.max(0, path.lastIndexOf('/'))));
    };
    return this.#operate(path, apply, () => write(`${path}.tmp`));
  }

  createZeroed(path: string, sizeBytes: number): Promise<void> {
    const apply = (): void => {
      this.#meetFullDisk(path);
      this.#meetFailure(path, 'write');
      const existing = this.#disk.find(path);
      if (existing === undefined) {
        this.#disk.link(path, SimFile.zeroed(sizeBytes));
        return;
      }
      existing.truncate(0);
      existing.truncate(sizeBytes);
      existing.sync();
    };
    const interrupt = (): void => {
      const partBytes = Math.floor((sizeBytes * nextFloat(this.#random)) / pageBytes) * pageBytes;
      const existing = this.#disk.find(path);
      if (existing === undefined) this.#disk.link(path, SimFile.zeroed(partBytes));
      else existing.truncate(partBytes);
    };
    return this.#operate(path, apply, interrupt);
  }

  rename(from: string, to: string): Promise<void> {
    return this.#operate(from, () => this.#disk.rename(from, to));
  }

  link(path: string, name: string): Promise<void> {
    return this.#operate(path, () => {
      const file = this.#disk.find(path);
      if (file === undefined) throw diskError('ENOENT', path);
      if (this.#disk.find(name) !== undefined) throw diskError('EEXIST', name);
      this.#disk.link(name, file);
    });
  }

  remove(path: string): Promise<void> {
    return this.#operate(path, () => this.#disk.unlink(path));
  }

  removeDirectory(path: string): Promise<void> {
    return this.#operate(path, () => this.#disk.removeDirectory(path));
  }

  syncDirectory(path: string): Promise<void> {
    return this.#operate(path, () => {
      this.#meetFailure(path, 'sync');
      this.#disk.syncDirectory(path);
    });
  }

  syncFile(path: string): Promise<void> {
    return this.#operate(path, () => {
      const file = this.#disk.find(path);
      if (file === undefined) throw diskError('ENOENT', path);
      const systemCode = this.#sync(file);
      if (systemCode !== undefined) throw diskError(systemCode, path);
    });
  }

  open(path: string, options: OpenOptions): Promise<FileHandle> {
    return this.#operate(path, () => {
      const file = this.#disk.find(path);
      if (file === undefined) throw diskError('ENOENT', path);
      if (options.access === 'durableWrite') this.#writer.fileOpens();
      const handle = this.#nextHandle++ as FileHandle;
      this.#files.set(handle, { file, path, access: options.access });
      return handle;
    });
  }

  close(file: FileHandle): Promise<void> {
    this.#openFile(file);
    return new Promise((resolve) => {
      this.submit([], () => {
        this.#files.delete(file);
        resolve();
        this.#scheduler.requestDrain();
      });
    });
  }

  size(file: FileHandle): Promise<number> {
    const open = this.#openFile(file);
    return this.#operate(open.path, () => open.file.sizeBytes);
  }

  truncate(file: FileHandle, sizeBytes: number): Promise<void> {
    const open = this.#openFile(file);
    assert(open.access === 'durableWrite', 'a file opened for reading stays as it is');
    return this.#operate(open.path, () => open.file.truncate(sizeBytes));
  }

  read(file: FileHandle, position: number, length: number): Promise<Uint8Array> {
    const open = this.#openFile(file);
    const isDurable = open.access === 'durableWrite';
    if (isDurable) assertAligned(position, length);
    const bypassesCache = isDurable && this.#writer.isDirect;
    return this.#operate(open.path, () => {
      this.#meetReadFailure(open.path);
      return open.file.read(position, length, bypassesCache ? 'device' : 'cache');
    });
  }

  allocateStaging(sizeBytes: number): Uint8Array {
    return new Uint8Array(sizeBytes);
  }

  submit(chain: readonly IoStep[], completion: IoCompletion): void {
    if (!this.#scope.isAlive) return;
    if (this.#chains.length === 0) this.#writer.chainComes();
    const number = this.#disk.chainCount++;
    const checksums = chain.map((step) => {
      const open = this.#openFile(step.file);
      if (step.kind === 'sync') return 0;
      assert(open.access === 'durableWrite', 'a chain writes files opened for it');
      assertAligned(step.position, step.bytes.length);
      return checksumOf(step.bytes, number);
    });
    assert(this.#chains.length - this.#chainHead < chainsWaitingMax, 'waiting chains are bounded');
    this.#chains.push({ number, steps: chain, checksums, completion, stepsDone: 0 });
    if (this.#chains.length - this.#chainHead === 1) this.#startStep();
  }

  /**
   * Ends this life's business with the disk: what was in flight happens wholly, partly or not at all, then the power goes
   * if it was the power. Its files stay open to it: code that waits for nothing else may still name them, and is not answered.
   */
  abandon(kind: CrashKind): void {
    for (const operation of this.#operations) this.#abandonOperation(operation);
    this.#operations.clear();
    if (!this.#isBetweenSteps && !this.#disk.isStalled) this.#abandonChains(kind);
    this.#chains = [];
    this.#chainHead = 0;
    for (const path of this.#locks) this.#disk.unlock(path);
    this.#locks.clear();
    if (kind === 'powerLoss') this.#disk.losePower(this.#random);
  }

  #abandonOperation(operation: Operation): void {
    if (this.#disk.isStalled) return;
    const draw = nextBelow(this.#random, 3);
    try {
      if (draw === 0) operation.apply();
      else if (draw === 1) operation.interrupt?.();
    } catch (error) {
      // Nobody is left to be told that it would have failed.
      if (!(error instanceof ClustorError)) throw error;
    }
  }

  #abandonChains(kind: CrashKind): void {
    for (let at = this.#chainHead; at < this.#chains.length; at++) {
      const chain = present(this.#chains[at], 'a waiting chain exists');
      while (chain.stepsDone < chain.steps.length) {
        const step = present(chain.steps[chain.stepsDone], 'a step is left');
        if (nextBelow(this.#random, 2) === 0) {
          if (step.kind === 'write') this.#writePart(step, kind);
          return;
        }
        if (this.#perform(step) !== undefined) return;
        chain.stepsDone++;
      }
    }
  }

  /** A write that a crash fell into: a power loss picks any sectors later on, a killed process wrote a prefix. */
  #writePart(step: IoStep & { readonly kind: 'write' }, kind: CrashKind): void {
    const { file } = this.#openFile(step.file);
    if (kind === 'powerLoss') {
      file.write(step.position, step.bytes);
      return;
    }
    const sectors = nextBelow(this.#random, step.bytes.length / sectorBytes + 1);
    if (sectors > 0) file.write(step.position, step.bytes.subarray(0, sectors * sectorBytes));
  }

  #startStep(): void {
    const chain = present(this.#chains[this.#chainHead], 'a chain waits');
    const step = chain.steps[chain.stepsDone];
    let latencyMs = 1 / 16;
    if (step?.kind === 'write') latencyMs = this.#writeLatencyMs(step.bytes.length);
    else if (step?.kind === 'sync') latencyMs = this.#syncLatencyMs();
    this.#stepTask.weight =
      step?.kind === 'write'
        ? step.position ^ (chain.checksums[chain.stepsDone] ?? 0)
        : chain.stepsDone;
    this.#scheduler.schedule(latencyMs * this.#disk.latencyFactor, this.#stepTask);
  }

  #finishStep(): void {
    if (this.#parkIfStalled(this.#stepTask)) return;
    const chain = present(this.#chains[this.#chainHead], 'a chain runs');
    const step = chain.steps[chain.stepsDone];
    if (step === undefined) {
      this.#finishChain(chain, undefined);
      return;
    }
    if (step.kind === 'write') {
      const isUntouched = checksumOf(step.bytes, chain.number) === chain.checksums[chain.stepsDone];
      assert(isUntouched, 'bytes of a submitted write stay untouched until its completion');
    }
    const systemCode = this.#perform(step);
    if (systemCode !== undefined) {
      this.#finishChain(chain, systemCode);
      return;
    }
    chain.stepsDone++;
    this.#reachKillPoint(() => {
      this.#disk.reached({ kind: 'chain', chain: chain.number, step: chain.stepsDone });
    });
    if (!this.#scope.isAlive) return;
    if (chain.stepsDone < chain.steps.length) this.#startStep();
    else this.#finishChain(chain, undefined);
  }

  #finishChain(chain: SubmittedChain, systemCode: string | undefined): void {
    this.#chainHead++;
    if (this.#chainHead === this.#chains.length) {
      this.#chains = [];
      this.#chainHead = 0;
    } else {
      this.#startStep();
    }
    chain.completion(
      systemCode === undefined ? undefined : { stepIndex: chain.stepsDone, systemCode },
    );
    this.#scheduler.requestDrain();
  }

  /** Runs one step now; the system's code if it failed. */
  #perform(step: IoStep): string | undefined {
    const { file } = this.#openFile(step.file);
    if (step.kind === 'sync') return this.#sync(file);
    const failure = this.#disk.takeFailure('write');
    if (failure !== undefined) return failure;
    if (this.#disk.refusesWrite(file, step.position + step.bytes.length)) return 'ENOSPC';
    this.#disk.effectCount++;
    file.write(step.position, step.bytes);
    return undefined;
  }

  #sync(file: SimFile): string | undefined {
    const failure = this.#disk.takeFailure('sync');
    if (failure !== undefined) {
      file.failSync(this.#random, !this.#writer.isDirect);
      return failure;
    }
    this.#disk.sync(file);
    return undefined;
  }

  /** Runs a slow operation: takes effect after a while, then its promise settles. */
  #operate<Result>(path: string, apply: () => Result, interrupt?: () => void): Promise<Result> {
    return new Promise((resolve, reject) => {
      // A dead life's promises never settle: nothing of it runs any more.
      if (!this.#scope.isAlive) return;
      const operation: Operation = { apply, interrupt };
      this.#operations.add(operation);
      const task = simTask(this.#scope, simEventKinds.diskOperation, () => {
        if (this.#parkIfStalled(task)) return;
        this.#operations.delete(operation);
        let settle: () => void;
        try {
          const result = apply();
          settle = () => resolve(result);
        } catch (error) {
          settle = () => reject(error instanceof Error ? error : diskError('EIO', path));
        }
        this.#reachKillPoint(() => {
          this.#disk.reached({ kind: 'operation', operation: this.#disk.operationCount++ });
        });
        if (!this.#scope.isAlive) return;
        settle();
        this.#scheduler.requestDrain();
      });
      task.weight = path.length;
      const latencyMs = 1 / 16 + nextFloat(this.#random) * 0.5;
      this.#scheduler.schedule(latencyMs * this.#disk.latencyFactor, task);
    });
  }

  #reachKillPoint(report: () => void): void {
    this.#isBetweenSteps = true;
    report();
    this.#isBetweenSteps = false;
  }

  #parkIfStalled(task: SimTask): boolean {
    if (!this.#disk.isStalled) return false;
    this.#disk.park(() => this.#scheduler.schedule(0, task));
    return true;
  }

  #writeLatencyMs(length: number): number {
    return 1 / 32 + length / 1_048_576 + nextFloat(this.#random) * 0.06;
  }

  /** Mostly fractions of a millisecond, now and then a hiccup. */
  #syncLatencyMs(): number {
    const latencyMs = 0.1 + nextFloat(this.#random) * 0.6;
    return nextBelow(this.#random, 64) === 0 ? latencyMs * 12 : latencyMs;
  }

  #meetReadFailure(path: string): void {
    this.#meetFailure(path, 'read');
  }

  #meetFailure(path: string, kind: DiskFailureKind): void {
    const systemCode = this.#disk.takeFailure(kind, path);
    if (systemCode !== undefined) throw diskError(systemCode, path);
  }

  #meetFullDisk(path: string): void {
    if (this.#disk.isFull) throw diskError('ENOSPC', path);
  }

  #openFile(handle: FileHandle): OpenFile {
    return present(this.#files.get(handle), 'a file is open while it is used');
  }

  async #releaseLock(path: string): Promise<void> {
    if (this.#scope.isAlive && this.#locks.delete(path)) this.#disk.unlock(path);
  }
}
