/**
 * Puts a replica on a snapshot that lies whole and verified in its folder (specification §7, install order).
 *
 * The term in which its entries were known to be committed is durable first: an older leader could otherwise still have its
 * entries appended behind it. Then the replica is frozen: it hears and says nothing, so that its log stays as it is while one
 * flush of the ledger says where it begins from now on. Behind that the core goes on from the snapshot, and the machine takes
 * its bytes; if that fails, the replica is without its machine's state until another snapshot is taken in.
 */
import { ClustorError } from '../base/errors.ts';
import type { Clock } from '../ports/clock.ts';
import { installationBlock, logBehindSnapshot, termAt } from '../raft/index.ts';
import type { SnapshotFolder, SnapshotManifest } from '../storage/snapshot-folder.ts';
import type { QuarantineDesk } from './quarantine-desk.ts';
import type { Replica } from './replica.ts';

/** What an installation needs. */
export interface SnapshotInstallationOptions {
  readonly replica: Replica;
  readonly folder: Pick<SnapshotFolder, 'stateBytes' | 'machineBytes'>;
  readonly quarantine: QuarantineDesk;
  readonly clock: Clock;
}

/** How long an installation waits for what is under way to settle, milliseconds, and how often it looks. */
const settleMsMax = 10_000;
const lookMs = 20;

/** See the file comment. */
export class SnapshotInstallation {
  readonly #options: SnapshotInstallationOptions;
  #isUnderWay = false;
  #isMachineWithout = false;
  #isClosed = false;
  #cancelTimer: (() => void) | undefined;
  /** Resolves when the replacement under way is durable and the core goes on from it. */
  #replaced: Promise<void> = Promise.resolve();
  /** Ends what waits for storage or time when the node closes. */
  readonly #closed: Promise<void>;
  #resolveClosed: () => void = () => undefined;

  constructor(options: SnapshotInstallationOptions) {
    this.#options = options;
    this.#closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
  }

  /** The replica is being put on a snapshot. */
  get isUnderWay(): boolean {
    return this.#isUnderWay;
  }

  /** The log begins behind a snapshot that the machine could not take in. */
  get isMachineWithout(): boolean {
    return this.#isMachineWithout;
  }

  /** Nothing goes on. */
  close(): void {
    this.#isClosed = true;
    this.#cancelTimer?.();
    this.#resolveClosed();
  }

  /** Gives the machine what a snapshot holds; the pipeline waits for it. Rejects with what could not be read. */
  async restore(manifest: SnapshotManifest): Promise<void> {
    const { folder, replica } = this.#options;
    const state = await folder.stateBytes(manifest);
    if (this.#isClosed) return;
    const machine = folder.machineBytes(manifest);
    await replica.apply.restore({ index: manifest.index, state, machine });
  }

  /**
   * Installs a snapshot; whether it was still wanted. One at a time.
   * @throws ClustorError `CLUSTOR_SNAPSHOT_UNAVAILABLE` where the replica cannot take it now, `CLUSTOR_INTEGRITY`,
   * `CLUSTOR_STORAGE_FAILED`.
   */
  async install(manifest: SnapshotManifest): Promise<boolean> {
    this.#isUnderWay = true;
    let isRescued = false;
    try {
      await this.#settled(manifest);
      if (this.#isClosed || !this.#isWanted(manifest)) return false;
      isRescued = this.#replace(manifest);
      await Promise.race([this.#replaced, this.#closed]);
      if (this.#isClosed) return false;
      if (this.#options.replica.apply.isRestoring) {
        this.#isMachineWithout = true;
        await this.restore(manifest);
        this.#isMachineWithout = false;
      }
      return true;
    } finally {
      this.#isUnderWay = false;
      if (isRescued && !this.#isClosed) this.#options.quarantine.endRescue();
    }
  }

  /** Waits until the term is durable, nothing is under way that the log rests on, and the replica follows. */
  async #settled(manifest: SnapshotManifest): Promise<void> {
    const { replica, clock } = this.#options;
    const { state } = replica;
    const untilMs = clock.monotonicMs() + settleMsMax;
    for (;;) {
      if (this.#isClosed) return;
      if (manifest.knownTerm > state.term)
        replica.input({ kind: 'termSeen', term: manifest.knownTerm });
      const reason = this.#unsettled(manifest);
      if (reason === undefined) return;
      if (clock.monotonicMs() >= untilMs)
        throw new ClustorError('CLUSTOR_SNAPSHOT_UNAVAILABLE', `no snapshot goes in: ${reason}`);
      await Promise.race([this.#pause(), this.#closed]);
    }
  }

  #unsettled({ index, term }: SnapshotManifest): string | undefined {
    const { replica, quarantine } = this.#options;
    const { state } = replica;
    if (state.role !== 'follower') return `this replica is ${state.role}`;
    if (state.durableTerm < state.term) return 'its term is not durable';
    const isComing = !state.isQuarantined && termAt(state.log, index) === term;
    if (isComing && state.durableIndex < index) return 'the entry is being written';
    if (state.isQuarantined && !quarantine.mayBeRescued) return 'its log is being repaired';
    return undefined;
  }

  #isWanted({ index, term }: SnapshotManifest): boolean {
    const { replica } = this.#options;
    const { state, gate } = replica;
    const block = installationBlock(state, { index, term });
    if (block === 'conflict')
      throw new ClustorError(
        'CLUSTOR_INTEGRITY',
        `a snapshot of partition ${replica.partitionId} up to entry ${index} of term ${term} contradicts what this replica knows to be committed`,
      );
    if (block !== undefined) return false;
    return index > state.log.baseIndex || gate.lacksSnapshot;
  }

  /** Freezes the replica and hands the replacement to storage; whether a quarantine ends with it. */
  #replace(manifest: SnapshotManifest): boolean {
    const { replica, quarantine } = this.#options;
    const { state, apply, gate } = replica;
    const { index, term, configuration } = manifest;
    const isRescue = state.isQuarantined;
    const log = logBehindSnapshot(state, { index, term });
    const keepsTail = !isRescue && termAt(state.log, index) === term;
    if (index > apply.appliedIndex || gate.lacksSnapshot) apply.setRestoring(true);
    this.#replaced = replica.replaceLog({ log, configuration, keepsTail });
    if (isRescue) quarantine.beginRescue();
    return isRescue;
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      this.#cancelTimer = this.#options.clock.setTimer(lookMs, resolve);
    });
  }
}
