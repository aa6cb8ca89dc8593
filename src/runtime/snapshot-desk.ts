/**
 * The snapshots of one replica (specification §7, §8.1): takes them, lets its log begin behind them, begins with one after a
 * start, gives them to peers, and takes one of a peer in where its own log no longer helps.
 *
 * Taking: the machine's state is captured between two batches; its bytes are written while applying goes on, read back, and
 * published. Only then do entries go, as far as no member that is heard still needs them ({@link compactionFloor}).
 *
 * Taking in (see `install-desk` for how it is fetched): the replica is deaf while one flush of the ledger puts the snapshot in
 * the place of its log; a crash before it leaves the old log, a crash behind it the new one. Then the machine takes the bytes.
 * What follows from the log meanwhile is nobody's: nothing is applied, acknowledged or voted.
 */
import { InvariantError } from '../base/assert.ts';
import { ClustorError, isClustorError, messageOf } from '../base/errors.ts';
import type { LogIndex, NodeId } from '../base/ids.ts';
import { isSameLife, type Member } from '../base/membership.ts';
import type { Clock } from '../ports/clock.ts';
import type { Cryptography } from '../ports/cryptography.ts';
import type { Observer } from '../ports/observer.ts';
import {
  activeConfiguration,
  allMembers,
  compactionFloor,
  configurationAt,
  selfLife,
  termAt,
} from '../raft/index.ts';
import type { ScrubSources } from '../storage/scrubber.ts';
import { isSamePlace } from '../codec/snapshot-manifest.ts';
import type { SnapshotFolder, SnapshotManifest } from '../storage/snapshot-folder.ts';
import { noInstallation, type InstallStatus } from './install-desk.ts';
import type { NodeLimits } from './limits.ts';
import type { PeerLinks } from './peer-links.ts';
import type { QuarantineDesk } from './quarantine-desk.ts';
import type { Replica } from './replica.ts';
import { SnapshotPace } from './snapshot-pace.ts';
import { SnapshotParts } from './snapshot-parts.ts';
import { SnapshotScrub } from './snapshot-scrub.ts';
import type { SnapshotRequest, SnapshotResponse, SnapshotWords } from './snapshot-server.ts';

/** One snapshot on this node. @public */
export interface SnapshotInfo {
  /** The last entry whose effect it holds. */
  readonly index: LogIndex;
  readonly term: number;
  /** When it was taken, milliseconds since 1970, by the clock of the node that took it. */
  readonly createdMs: number;
  /** Bytes of the machine and of what the system keeps beside it. */
  readonly bytes: number;
}

/** How it stands with the snapshots of a replica. @public */
export interface SnapshotStatus {
  /** By rising index. */
  readonly snapshots: readonly SnapshotInfo[];
  /** The machine waits for a snapshot: this replica has none that can be read, and its log begins behind one. */
  readonly isMissing: boolean;
  readonly isTaking: boolean;
  /** Bytes that the attempt under way has written. */
  readonly takingBytes: number;
  /** Why the last attempt to take one failed; empty behind a success. */
  readonly lastFailure: string;
  /** The newest snapshot that this process read back, or that its machine began with: the log may begin behind it. 0 without one. */
  readonly goodIndex: LogIndex;
  /** The oldest snapshot that a member is fetching: entries behind it stay. */
  readonly leasedIndex: LogIndex | undefined;
  /** What the log took in since the newest snapshot, bytes, and with how many another one is taken. */
  readonly logBytes: number;
  readonly logBytesMax: number;
  readonly installation: InstallStatus;
}

/** What a desk needs. */
export interface SnapshotDeskOptions {
  readonly replica: Replica;
  readonly folder: SnapshotFolder;
  readonly scrub: ScrubSources;
  readonly links: PeerLinks;
  readonly clock: Clock;
  readonly observer: Observer;
  readonly cryptography: Pick<Cryptography, 'sha256'>;
  readonly limits: NodeLimits;
  readonly quarantine: QuarantineDesk;
  /** Something changed that the core must hear: whether healthy replicas go first. */
  readonly lackChanged: () => void;
  readonly fail: (error: unknown) => void;
}

/** Snapshots that stay: the newest, and one before it while its entries are there. */
const snapshotsKept = 2;
const reviewMs = 1_000;
/** A leader keeps everything for so long, milliseconds. */
const newLeaderMs = 2_000;
/** A node that closes waits so long for a snapshot that is being taken, milliseconds. */
const closeMsMax = 3_000;
/** A failed restore is tried again: the disk may answer then. */
const restoreRetryMs = 1_000;

/** See the file comment. */
export class SnapshotDesk implements SnapshotWords {
  readonly #options: SnapshotDeskOptions;
  readonly #parts: SnapshotParts;
  readonly #pace: SnapshotPace;
  /** The newest snapshot of which this process knows that it is good. */
  #good: SnapshotManifest | undefined;
  readonly #scrub: SnapshotScrub;
  #taking: Promise<SnapshotManifest> | undefined;
  #takingBytes = 0;
  #isTidying = false;
  #lastFailure = '';
  #nextReviewMs = 0;
  #cancelTimer: (() => void) | undefined;
  #isClosed = false;
  #closed: Promise<void> | undefined;

  constructor(options: SnapshotDeskOptions) {
    this.#options = options;
    const { replica, limits, clock } = options;
    const { state } = replica;
    this.#pace = new SnapshotPace({ replica, limits, clock });
    this.#scrub = new SnapshotScrub({
      folder: options.folder,
      scrub: options.scrub,
      partitionId: replica.partitionId,
      good: () => this.#good,
      foundBad: (manifest, reason) => {
        this.#emitUnreadable(reason, manifest);
        // The log begins behind no other entry until there is a good one.
        if (this.#good !== undefined && isSamePlace(this.#good, manifest)) this.#good = undefined;
      },
      notRemoved: this.#emitNotRemoved.bind(this),
    });
    this.#parts = new SnapshotParts(options, {
      members: () => this.#members(),
      need: () => this.#need(),
      install: (manifest) => this.#install(manifest),
    });
    if (this.#candidates().length > 0 || state.log.baseIndex > 0) replica.apply.setRestoring(true);
  }

  /** How it stands. */
  get status(): SnapshotStatus {
    return {
      snapshots: this.#options.folder.published.map(infoOf),
      isMissing: this.#options.replica.gate.lacksSnapshot,
      isTaking: this.#taking !== undefined,
      takingBytes: this.#takingBytes,
      lastFailure: this.#lastFailure,
      goodIndex: this.#good?.index ?? (0 as LogIndex),
      leasedIndex: this.#parts.knownServer?.leaseFloor(),
      logBytes: this.#pace.logBytes,
      logBytesMax: this.#options.limits.snapshotLogBytes,
      installation: this.#parts.knownInstaller?.status ?? noInstallation,
    };
  }

  /** Gives the machine the newest snapshot that the log goes on from; called once. */
  begin(): void {
    if (this.#options.replica.apply.isRestoring) void this.#restoreAtStart();
  }

  /** Time passed, or a core wants something: called often. */
  review(): void {
    if (this.#isClosed) return;
    if (this.#need() !== undefined) this.#parts.installer.review();
    const nowMs = this.#options.clock.monotonicMs();
    if (nowMs < this.#nextReviewMs) return;
    this.#nextReviewMs = nowMs + reviewMs;
    const isDue = this.#pace.isDue() || (this.#scrub.mustReplace && this.#pace.mayTry());
    if (this.#taking === undefined && this.#isSound && isDue) void this.#takeQuietly();
    this.#scrub.review();
    this.#compact();
  }

  /** A peer can be asked. */
  peerConnected(nodeId: NodeId): void {
    this.#parts.knownInstaller?.peerConnected(nodeId);
  }

  serve(fromNode: NodeId, request: SnapshotRequest): void {
    const answer = (): void => void this.#parts.server.serve(fromNode, request);
    if (this.#isWorthTaking(request)) void this.#takeQuietly().then(answer);
    else answer();
  }

  answered(response: SnapshotResponse): void {
    this.#parts.knownInstaller?.answered(response);
  }

  /**
   * Takes a snapshot at the newest applied entry; the one that is there if nothing was applied since.
   * @throws ClustorError `CLUSTOR_SNAPSHOT_UNAVAILABLE` while the state cannot be captured, `CLUSTOR_DISK_HARD`,
   * `CLUSTOR_STORAGE_FAILED`, `CLUSTOR_CLOSED`.
   */
  take(): Promise<SnapshotInfo> {
    this.#taking ??= this.#take().finally(() => {
      this.#taking = undefined;
      this.#takingBytes = 0;
    });
    return this.#taking.then(infoOf);
  }

  /** Wraps the keys of the snapshots under the newest epoch. */
  rewrap(): Promise<void> {
    return this.#options.folder.rewrap();
  }

  /** Nothing begins any more; resolves when nothing more is written, which a machine that gives no more bytes cannot hold up. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#isClosed = true;
    this.#scrub.close();
    this.#cancelTimer?.();
    const ended = Promise.allSettled([this.#parts.close(), this.#taking]);
    const waited = new Promise<void>((resolve) => {
      this.#cancelTimer = this.#options.clock.setTimer(closeMsMax, resolve);
    });
    await Promise.race([ended, waited]);
    this.#cancelTimer?.();
  }

  /** Whether this replica's log and machine are what they should be. */
  get #isSound(): boolean {
    const { apply, state } = this.#options.replica;
    return !apply.isStopped && !state.inDoubt && !this.#parts.isInstalling;
  }

  async #takeQuietly(): Promise<void> {
    await this.take().catch(() => undefined);
  }

  /** Whether somebody needs a newer snapshot than any that is there, and this replica could take one. */
  #isWorthTaking({ baseIndex, minIndex }: SnapshotRequest): boolean {
    const { replica, folder } = this.#options;
    const newest = folder.published.at(-1)?.index ?? 0;
    const canHelp = baseIndex === 0 && newest < minIndex && replica.apply.appliedIndex >= minIndex;
    return canHelp && (this.#taking !== undefined || (this.#isSound && this.#pace.mayTry()));
  }

  async #take(): Promise<SnapshotManifest> {
    const { replica, observer } = this.#options;
    this.#pace.tried();
    try {
      if (this.#isClosed) throw new ClustorError('CLUSTOR_CLOSED', 'the node closed');
      const known = await this.#goodAt(replica.apply.appliedIndex);
      const manifest = known ?? (await this.#write());
      this.#lastFailure = '';
      this.#pace.taken(infoOf(manifest));
      this.#good = manifest;
      if (known === undefined) {
        const { index, term } = manifest;
        const fields = { ...this.#fields, index, term, bytes: infoOf(manifest).bytes };
        observer.emit({ level: 'info', kind: 'snapshotTaken', fields });
      }
      this.#compact();
      return manifest;
    } catch (error) {
      this.#lastFailure = messageOf(error);
      const fields = { ...this.#fields, message: this.#lastFailure };
      if (!this.#isClosed) observer.emit({ level: 'warn', kind: 'snapshotNotTaken', fields });
      if (isClustorError(error) || error instanceof InvariantError) throw error;
      throw new ClustorError(
        'CLUSTOR_SNAPSHOT_UNAVAILABLE',
        `the state machine of partition ${replica.partitionId} gave no snapshot: ${this.#lastFailure}`,
        { cause: error },
      );
    }
  }

  /** A snapshot that is there already, if it is good; a damaged one keeps no better one out. */
  async #goodAt(appliedIndex: LogIndex): Promise<SnapshotManifest | undefined> {
    const { folder } = this.#options;
    const known = folder.published.find(({ index }) => index === appliedIndex);
    if (known === undefined || known.contentHash === this.#good?.contentHash) return known;
    const detail = await folder.verify(known);
    if (detail === undefined) return known;
    this.#emitUnreadable(detail, known);
    await folder.remove(known);
    return undefined;
  }

  async #write(): Promise<SnapshotManifest> {
    const { replica, folder } = this.#options;
    const { state } = replica;
    // A snapshot names the term in which this replica knew what it holds: that term must not be forgotten by a crash.
    const isKept = this.#isSound && state.durableTerm === state.term;
    const captured = isKept ? await replica.apply.capture() : undefined;
    const term = captured && termAt(state.log, captured.index);
    const configuration = captured && configurationAt(state, captured.index);
    if (captured === undefined || term === undefined || configuration === undefined)
      throw new ClustorError(
        'CLUSTOR_SNAPSHOT_UNAVAILABLE',
        `the state of partition ${replica.partitionId} on this node cannot be captured now: it is not whole, or being changed`,
      );
    const { index } = captured;
    const writer = await folder.begin({ index, term, configuration, knownTerm: state.term });
    let isFinished = false;
    try {
      let stateBytes = 0;
      for (const piece of captured.state) {
        await writer.write(piece);
        stateBytes += piece.length;
        this.#takingBytes += piece.length;
      }
      for await (const chunk of captured.machine) {
        if (this.#isClosed) throw new ClustorError('CLUSTOR_CLOSED', 'the node closed');
        await writer.write(chunk);
        this.#takingBytes += chunk.length;
      }
      const manifest = await writer.finish({ stateBytes });
      isFinished = true;
      return manifest;
    } finally {
      if (!isFinished && !this.#isClosed) await writer.abort();
    }
  }

  /** Lets the log begin behind the newest snapshot, as far as nobody needs its entries. */
  #compact(): void {
    const { replica } = this.#options;
    const { state } = replica;
    if (this.#good === undefined || this.#isClosed || !this.#isSound) return;
    // A new leader does not know yet what its followers lack.
    if (replica.isLeader && replica.roleAgeMs() < newLeaderMs) return;
    const floor = Math.min(
      this.#good.index,
      compactionFloor(state),
      replica.apply.appliedIndex,
      this.#parts.knownServer?.leaseFloor() ?? Number.POSITIVE_INFINITY,
    ) as LogIndex;
    if (floor > state.log.baseIndex) replica.compact(floor);
    else void this.#tidy(this.#good);
  }

  /** Removes snapshots that nothing rests on: what the log begins behind is durable by then. */
  async #tidy(good: SnapshotManifest): Promise<void> {
    const { replica, folder } = this.#options;
    const { durableBaseIndex } = replica.log;
    const usable = folder.published.filter(
      (manifest) => manifest.index <= good.index && !this.#scrub.isBad(manifest),
    );
    const kept = usable.at(-snapshotsKept)?.index ?? 0;
    const below = Math.min(good.index, Math.max(kept, durableBaseIndex)) as LogIndex;
    const gone = usable.filter(({ index }) => index < below);
    if (this.#isTidying || gone.length === 0) return;
    if (gone.some((manifest) => this.#parts.knownServer?.isLeased(manifest) === true)) return;
    this.#isTidying = true;
    try {
      await folder.removeBelow(below);
    } catch (error) {
      this.#emitNotRemoved(error);
    } finally {
      this.#isTidying = false;
    }
  }

  /** Snapshots that the log goes on from, the newest first; what lies above the end of the log was never installed. */
  #candidates(): readonly SnapshotManifest[] {
    const { replica, folder } = this.#options;
    const { log } = replica.state;
    return folder.published.filter(({ index, term }) => termAt(log, index) === term).toReversed();
  }

  async #restoreAtStart(): Promise<void> {
    const { replica, clock } = this.#options;
    try {
      for (const manifest of this.#candidates()) {
        // The newest good one: each is looked at only when the one before is bad.
        if (await this.#restore(manifest)) return;
        if (this.#isClosed) return;
      }
      if (replica.state.log.baseIndex === 0) replica.apply.setRestoring(false);
      else this.#lack(true);
    } catch (error) {
      if (this.#isClosed) return;
      this.#emitUnreadable(error);
      this.#cancelTimer = clock.setTimer(restoreRetryMs, () => {
        void this.#restoreAtStart();
      });
    }
  }

  /** Whether the machine took it. */
  async #restore(manifest: SnapshotManifest): Promise<boolean> {
    const { folder, replica } = this.#options;
    const detail = await folder.verify(manifest);
    if (this.#isClosed) return false;
    if (detail !== undefined) {
      this.#emitUnreadable(detail, manifest);
      return false;
    }
    await this.#parts.installation.restore(manifest);
    // A machine that refused it is a fault, which another snapshot of the same state would not mend.
    if (replica.apply.isRestoring) return replica.apply.fault !== undefined;
    this.#good = manifest;
    this.#pace.restored(manifest.index);
    return true;
  }

  async #install(manifest: SnapshotManifest): Promise<void> {
    const { observer } = this.#options;
    try {
      if (!(await this.#parts.installation.install(manifest))) return;
    } catch (error) {
      // Where only the machine is without it, that is what is needed from now on.
      if (!this.#isClosed && this.#parts.installation.isMachineWithout) this.#lack(true);
      throw error;
    }
    if (this.#isClosed) return;
    this.#good = manifest;
    this.#pace.restored(manifest.index);
    this.#lack(false);
    const { index, term } = manifest;
    const fields = { ...this.#fields, index, term };
    observer.emit({ level: 'info', kind: 'snapshotInstalled', fields });
  }

  /** The machine is without a snapshot that its log begins behind, or has one again. */
  #lack(isMissing: boolean): void {
    const { replica, observer, lackChanged } = this.#options;
    if (replica.gate.lacksSnapshot === isMissing) return;
    replica.gate.lacksSnapshot = isMissing;
    const kind = isMissing ? 'snapshotMissing' : 'snapshotFound';
    const fields = { ...this.#fields, baseIndex: replica.state.log.baseIndex };
    observer.emit({ level: isMissing ? 'error' : 'info', kind, fields });
    lackChanged();
    this.#parts.installer.review();
  }

  #need(): { readonly minIndex: LogIndex } | undefined {
    const { replica, quarantine } = this.#options;
    const { state } = replica;
    if (this.#isClosed || state.hasLostEvidence || state.role === 'leader') return undefined;
    const rescueIndex = quarantine.rescueIndex;
    if (rescueIndex !== undefined) return { minIndex: rescueIndex };
    if (state.isQuarantined) return undefined;
    if (replica.gate.lacksSnapshot) return { minIndex: state.log.baseIndex };
    return state.snapshotWanted === undefined ? undefined : { minIndex: state.snapshotWanted };
  }

  #members(): readonly Member[] {
    const { state, leaderNodeId } = this.#options.replica;
    const self = selfLife(state);
    const others = allMembers(activeConfiguration(state)).filter(
      (member) => !isSameLife(member, self),
    );
    const isLeader = ({ nodeId }: Member): boolean => nodeId === leaderNodeId;
    return [...others.filter(isLeader), ...others.filter((member) => !isLeader(member))];
  }

  #emitNotRemoved(error: unknown): void {
    const fields = { ...this.#fields, message: messageOf(error) };
    if (!this.#isClosed)
      this.#options.observer.emit({ level: 'warn', kind: 'snapshotNotRemoved', fields });
  }

  #emitUnreadable(reason: unknown, manifest?: SnapshotManifest): void {
    const { observer } = this.#options;
    const detail = typeof reason === 'string' ? reason : messageOf(reason);
    const fields = { ...this.#fields, index: manifest?.index, term: manifest?.term, detail };
    observer.emit({ level: 'warn', kind: 'snapshotUnreadable', fields });
  }

  get #fields(): { readonly partitionId: string; readonly replicaId: number } {
    const { partitionId, replicaId } = this.#options.replica;
    return { partitionId, replicaId };
  }
}

function infoOf({
  index,
  term,
  createdMs,
  stateBytes,
  machineBytes,
}: SnapshotManifest): SnapshotInfo {
  return { index, term, createdMs, bytes: stateBytes + machineBytes };
}
