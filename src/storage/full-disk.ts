/**
 * What a disk without room says, and what is made of it: work that waits is tried again, work that somebody asked for is
 * refused (specification §8, regression 44).
 *
 * Only a *write* is waited out: one that found no room has changed nothing that counts, and the same bytes at the same place
 * may be written again. A failed *sync* is never repeated, whatever its reason (KER-10): it goes on as the failure it is.
 */
import { ClustorError, isClustorError, messageOf } from '../base/errors.ts';
import type { Clock } from '../ports/clock.ts';
import type { FileSystem, IoCompletion, IoStep } from '../ports/file-system.ts';

const fullCodes: readonly string[] = ['ENOSPC', 'EDQUOT'];

/** Between attempts, milliseconds. */
export const fullDiskRetryMs = 1000;

/** Whether a system's code says that there is no room. */
export function isFullCode(systemCode: string): boolean {
  return fullCodes.includes(systemCode);
}

/** Whether an operation failed for want of room. */
export function isDiskFull(error: unknown): boolean {
  if (!isClustorError(error)) return false;
  return error.code === 'CLUSTOR_DISK_HARD' || isFullCode(String(error.details['systemCode']));
}

/** The refusal for an operation that found no room; other errors as they are. */
export function asDiskHard(error: unknown): unknown {
  if (!isDiskFull(error) || isClustorError(error, 'CLUSTOR_DISK_HARD')) return error;
  return new ClustorError('CLUSTOR_DISK_HARD', `the disk has no room: ${messageOf(error)}`, {
    cause: error,
  });
}

/** What the waiting needs. */
export interface FullDiskOptions {
  readonly fileSystem: FileSystem;
  readonly clock: Clock;
  /** Told each time that a write found no room. */
  readonly refused: (site: string, message: string) => void;
}

/** Runs chains and operations that must happen, for as long as it takes to have room for them. */
export class PatientDisk {
  readonly #options: FullDiskOptions;
  /** What waits, each with how it is given up. */
  readonly #waiting = new Map<() => void, () => void>();
  /** A start does not wait: whoever started the process is told, and may start it again. */
  #isPatient = false;
  #waits = 0;

  constructor(options: FullDiskOptions) {
    this.#options = options;
  }

  /** How often something waited for room so far. */
  get waits(): number {
    return this.#waits;
  }

  /** From now on what finds no room waits. */
  begin(): void {
    this.#isPatient = true;
  }

  /**
   * Runs a chain; where a write finds no room the chain goes on from there once there is some. The steps before it have
   * completed and are not repeated. Nothing else may write to its places meanwhile.
   */
  submit(steps: readonly IoStep[], completion: IoCompletion): void {
    const { fileSystem, refused } = this.#options;
    const run = (from: number): void => {
      fileSystem.submit(from === 0 ? steps : steps.slice(from), (failure) => {
        if (failure === undefined) {
          completion(undefined);
          return;
        }
        const stepIndex = from + failure.stepIndex;
        const told = { stepIndex, systemCode: failure.systemCode };
        const isWaitedOut =
          steps[stepIndex]?.kind === 'write' && isFullCode(failure.systemCode) && this.#isPatient;
        if (!isWaitedOut) {
          completion(told);
          return;
        }
        refused('chain', failure.systemCode);
        this.#later(
          () => run(stepIndex),
          () => completion(told),
        );
      });
    };
    run(0);
  }

  /** Repeats an operation until there is room for it. @throws ClustorError whatever else it fails with, and when it is closed. */
  async untilRoom<Result>(site: string, operation: () => Promise<Result>): Promise<Result> {
    for (;;) {
      try {
        return await operation();
      } catch (error) {
        if (!isDiskFull(error) || !this.#isPatient) throw error;
        this.#options.refused(site, messageOf(error));
        // One attempt after the other is the point.
        await new Promise<void>((resolve) => {
          this.#later(resolve, resolve);
        });
      }
    }
  }

  /** Gives up what waits: the process ends, and nothing was told of it. */
  close(): void {
    this.#isPatient = false;
    for (const giveUp of [...this.#waiting.values()]) giveUp();
  }

  #later(again: () => void, giveUp: () => void): void {
    this.#waits++;
    const cancel = this.#options.clock.setTimer(fullDiskRetryMs, () => {
      this.#waiting.delete(cancel);
      again();
    });
    this.#waiting.set(cancel, () => {
      this.#waiting.delete(cancel);
      cancel();
      giveUp();
    });
  }
}
