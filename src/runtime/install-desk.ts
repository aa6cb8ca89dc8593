/**
 * Fetches a snapshot from another member when the log lacks what nobody keeps as entries any more.
 *
 * Work goes in rounds. A round asks every reachable member once, the leader first, for the manifest of its newest snapshot and
 * then for its parts, one at a time; each part is compared with the manifest before it is written. What goes wrong at one
 * member (silence, damage, a snapshot that ends too early) ends the attempt there, and the next one is asked; when none is left,
 * the round was in vain and the next one waits, longer each time. A member that becomes reachable is asked at once. Nothing of
 * this needs a leader: a snapshot stands for committed entries.
 *
 * What is whole, on the own disk and verified is installed, if it is still needed. A whole snapshot that is there already,
 * because an installation failed or the process ended before it, is not fetched twice.
 *
 * After {@link InstallDesk.close} no step begins any more; what it leaves is the rest of an attempt, which goes when the
 * folder is opened again.
 */
import { InvariantError } from '../base/assert.ts';
import { isClustorError, messageOf } from '../base/errors.ts';
import type { LogIndex, NodeId, PartitionId, Term } from '../base/ids.ts';
import type { Member } from '../base/membership.ts';
import { isSamePlace, type SnapshotManifest } from '../codec/snapshot-manifest.ts';
import { repairDelayMs } from '../policy/scrub.ts';
import type { Clock } from '../ports/clock.ts';
import type { Cryptography } from '../ports/cryptography.ts';
import type { Observer } from '../ports/observer.ts';
import type { RaftState } from '../raft/index.ts';
import type { SnapshotFolder } from '../storage/snapshot-folder.ts';
import type { PeerLinks } from './peer-links.ts';
import { SnapshotAsker, type SnapshotQuestion } from './snapshot-asker.ts';
import { checkManifest, faultOfPart } from './snapshot-check.ts';
import type { SnapshotResponse } from './snapshot-server.ts';

/** Where fetched snapshots go. */
export type InstallFolder = Pick<SnapshotFolder, 'published' | 'begin' | 'verify' | 'remove'>;

/** What a desk needs. */
export interface InstallDeskOptions {
  readonly replica: { readonly partitionId: PartitionId; readonly state: RaftState };
  /** Whom to ask, in this order: the leader first. */
  readonly members: () => readonly Member[];
  readonly links: PeerLinks;
  readonly clock: Clock;
  readonly observer: Observer;
  readonly cryptography: Pick<Cryptography, 'sha256'>;
  readonly folder: InstallFolder;
  /** Up to where a snapshot has to reach at least; `undefined` while none is needed. */
  readonly need: () => { readonly minIndex: LogIndex } | undefined;
  /** Puts the replica on a snapshot of the folder. */
  readonly install: (manifest: SnapshotManifest) => Promise<void>;
  /** Takes what must not happen. */
  readonly fail: (error: unknown) => void;
}

/** How it stands. */
export interface InstallStatus {
  /** A snapshot is being fetched, verified or installed. */
  readonly isPulling: boolean;
  /** The node that is being asked. */
  readonly fromNodeId: NodeId | undefined;
  readonly partsDone: number;
  /** Parts of the snapshot; 0 before its manifest is here. */
  readonly parts: number;
  /** Rounds in vain since the last success. */
  readonly attempts: number;
  /** Why the last member, or the own disk, could not help; empty while none failed. */
  readonly lastFailure: string;
}

/** Nothing was ever needed. */
export const noInstallation: InstallStatus = {
  isPulling: false,
  fromNodeId: undefined,
  partsDone: 0,
  parts: 0,
  attempts: 0,
  lastFailure: '',
};

/** How an attempt at one member, or at what is there already, ended. */
type Outcome = { readonly kind: 'installed' } | { readonly kind: 'failed'; readonly why: string };

/** What is known of the attempt under way. */
interface Pull {
  readonly member: Member;
  waitMs: number;
  partsDone: number;
  parts: number;
}

/** A peer that does not answer for so long is asked again or passed over; longer with each silence and each round in vain. */
const answerMs = 1_000;
const answerMsMax = 16_000;
/** Silences that one part may cost at a member that is reachable. */
const silencesMax = 3;
/** Wait before a member that is busy is asked again; doubled each time. */
const busyMs = 100;
const busyMsMax = 1_000;
const busyAnswersMax = 32;
/** An attempt goes on for so long when nothing is needed any more: a new leader may say so again. */
const needlessMsMax = 10_000;
/** Places of fetched snapshots that are remembered. */
const pulledMax = 16;

const reasonOf: Readonly<Record<Exclude<SnapshotResponse['outcome'], 'part'>, string>> = {
  none: 'it has no snapshot that reaches far enough',
  gone: 'its snapshot went meanwhile',
  damaged: 'its snapshot is damaged',
  busy: 'it is busy',
};
const closedOutcome: Outcome = { kind: 'failed', why: 'closed' };

/** See the file comment. */
export class InstallDesk {
  readonly #options: InstallDeskOptions;
  readonly #asker: SnapshotAsker;
  /** Content hashes of snapshots that this process fetched, oldest first. */
  readonly #pulled = new Set<string>();
  /** Nodes that were asked in vain in this round. */
  readonly #tried = new Set<NodeId>();
  /** Asked first: it has just become reachable. */
  #preferred: NodeId | undefined;
  #work: Promise<void> | undefined;
  #pull: Pull | undefined;
  #attempts = 0;
  /** No round begins earlier, by the monotonic clock. */
  #nextMs = 0;
  #awaitsOwnDisk = false;
  #lastFailure = '';
  #cancelTimer: (() => void) | undefined;
  #isClosed = false;

  constructor(options: InstallDeskOptions) {
    this.#options = options;
    const { replica, links, clock } = options;
    this.#asker = new SnapshotAsker({ ...replica, links, clock });
  }

  /** How it stands. */
  get status(): InstallStatus {
    return {
      isPulling: this.#work !== undefined,
      fromNodeId: this.#pull?.member.nodeId,
      partsDone: this.#pull?.partsDone ?? 0,
      parts: this.#pull?.parts ?? 0,
      attempts: this.#attempts,
      lastFailure: this.#lastFailure,
    };
  }

  /** Begins a round if a snapshot is needed, none is under way, and the wait after the last one is over. Cheap. */
  review(): void {
    if (this.#isClosed || this.#work !== undefined) return;
    if (this.#options.need() === undefined) {
      this.#rest();
      return;
    }
    if (this.#options.clock.monotonicMs() < this.#nextMs) return;
    this.#cancelTimer?.();
    this.#work = this.#round().then(() => {
      this.#work = undefined;
      // With nothing to wait for either nothing is needed or the need has risen.
      if (this.#nextMs === 0) this.review();
    });
  }

  /** A peer answered. */
  answered(response: SnapshotResponse): void {
    this.#asker.answered(response);
  }

  /** A peer can be asked again. */
  peerConnected(nodeId: NodeId): void {
    if (this.#isClosed) return;
    if (this.#work !== undefined) {
      this.#tried.delete(nodeId);
      this.#asker.peerConnected(nodeId);
      return;
    }
    if (this.#awaitsOwnDisk || this.#options.need() === undefined) return;
    this.#preferred = nodeId;
    this.#nextMs = 0;
    this.review();
  }

  /** Nothing is asked, written or installed any more; resolves when what was under way has ended. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelTimer?.();
    this.#asker.close();
    await this.#work;
  }

  #rest(): void {
    this.#cancelTimer?.();
    this.#attempts = 0;
    this.#nextMs = 0;
    this.#awaitsOwnDisk = false;
    this.#preferred = undefined;
    this.#lastFailure = '';
  }

  /** Everything that can be done now. Never rejects. */
  async #round(): Promise<void> {
    try {
      const outcome = await this.#installAny();
      if (this.#isClosed) return;
      if (outcome.kind === 'installed' || this.#options.need() === undefined) this.#rest();
      else this.#inVain(outcome.why);
    } catch (error) {
      if (error instanceof InvariantError) {
        // Not to be tried again.
        this.#isClosed = true;
        this.#options.fail(error);
      } else if (!this.#isClosed) this.#notInstalled(error);
    } finally {
      this.#pull = undefined;
      this.#preferred = undefined;
      this.#tried.clear();
    }
  }

  async #installAny(): Promise<Outcome> {
    const found = await this.#installFound();
    if (found !== undefined) return found;
    for (;;) {
      if (this.#isClosed) return closedOutcome;
      const need = this.#options.need();
      const member = this.#nextMember();
      if (need === undefined || member === undefined)
        return { kind: 'failed', why: this.#lastFailure || 'no other member can be reached' };
      this.#tried.add(member.nodeId);
      const waitMs = Math.min(answerMs * 2 ** Math.min(this.#attempts, 16), answerMsMax);
      this.#pull = { member, waitMs, partsDone: 0, parts: 0 };
      const outcome = await this.#pullFrom(this.#pull, need.minIndex);
      if (outcome.kind === 'installed') return outcome;
      this.#lastFailure = `node ${member.nodeId}: ${outcome.why}`;
    }
  }

  /** Chosen only when it is asked at once: who is passed over was asked in this round. */
  #nextMember(): Member | undefined {
    const { members, links, replica } = this.#options;
    const untried = members().filter(
      ({ nodeId, replicaId }) =>
        replicaId !== replica.state.selfReplica &&
        !this.#tried.has(nodeId) &&
        links.get(nodeId)?.isUp === true,
    );
    return untried.find(({ nodeId }) => nodeId === this.#preferred) ?? untried[0];
  }

  /** Installs a snapshot that is here already and that the log does not reach, or that was fetched for it. */
  async #installFound(): Promise<Outcome | undefined> {
    const { folder, replica, need } = this.#options;
    const { log } = replica.state;
    const minIndex = need()?.minIndex;
    const found = folder.published.filter(({ index, contentHash }) => {
      if (minIndex === undefined || index < minIndex) return false;
      return this.#pulled.has(contentHash) || (index > log.baseIndex && index > log.lastIndex);
    });
    // From the newest on, one after the other: the first that can be installed ends it.
    for (const manifest of found.toReversed()) {
      const isGood = await this.#isGood(manifest);
      if (this.#isClosed) return closedOutcome;
      if (!isGood) continue;
      const outcome = await this.#install(manifest);
      if (outcome.kind === 'installed') return outcome;
      this.#lastFailure = outcome.why;
    }
    return undefined;
  }

  /** Verifies what is in the own folder; what is damaged goes, since it keeps a good one of its place out. */
  async #isGood(manifest: SnapshotManifest): Promise<boolean> {
    const { folder } = this.#options;
    const detail = await folder.verify(manifest);
    if (this.#isClosed) return false;
    if (detail === undefined) return true;
    const { index, term } = manifest;
    this.#emit('warn', 'snapshotUnreadable', { index, term, detail });
    this.#pulled.delete(manifest.contentHash);
    await folder.remove(manifest);
    return false;
  }

  async #pullFrom(pull: Pull, minIndex: LogIndex): Promise<Outcome> {
    const { folder, replica, cryptography } = this.#options;
    const { partitionId } = replica;
    const newest = { minIndex, baseIndex: 0 as LogIndex, baseTerm: 0 as Term, part: 0 };
    const answer = await this.#ask(pull, newest);
    if (typeof answer === 'string') return { kind: 'failed', why: answer };
    const sha256 = (bytes: Uint8Array): Uint8Array => cryptography.sha256(bytes);
    const check = checkManifest(answer, { partitionId, minIndex, sha256 });
    if (check.kind === 'bad') return this.#refused(pull, check.reason);
    const { manifest } = check;
    const own = folder.published.find((published) => isSamePlace(published, manifest));
    if (own !== undefined && (await this.#isGood(own))) return this.#install(own);
    if (this.#isClosed) return closedOutcome;
    const finished = await this.#fetch(pull, manifest);
    if (!('contentHash' in finished)) return finished;
    return this.#isClosed ? closedOutcome : this.#install(finished);
  }

  /** Fetches all parts into the own folder; the manifest when it is whole. */
  async #fetch(pull: Pull, manifest: SnapshotManifest): Promise<SnapshotManifest | Outcome> {
    const { folder } = this.#options;
    const { index, term, parts, stateBytes } = manifest;
    pull.parts = parts.length;
    const writer = await folder.begin({ ...manifest, partBytes: parts[0]?.bytes });
    let isFinished = false;
    try {
      const failed = await this.#fetchParts(pull, manifest, (bytes) => writer.write(bytes));
      if (failed !== undefined) return failed;
      const finished = await writer.finish({ stateBytes });
      isFinished = true;
      if (this.#isClosed) return closedOutcome;
      if (finished.contentHash !== manifest.contentHash) {
        await folder.remove(finished);
        return this.#refused(pull, 'what was written is not what its manifest says');
      }
      this.#remember(finished);
      this.#emit('info', 'snapshotPulled', {
        index,
        term,
        nodeId: pull.member.nodeId,
        bytes: stateBytes + manifest.machineBytes,
      });
      return finished;
    } finally {
      if (!isFinished && !this.#isClosed) await writer.abort();
    }
  }

  /** Why not all of them came, if so. One after the other: what is in memory stays small, and appends go first. */
  async #fetchParts(
    pull: Pull,
    manifest: SnapshotManifest,
    write: (bytes: Uint8Array) => Promise<void>,
  ): Promise<Outcome | undefined> {
    const { clock, need, cryptography } = this.#options;
    const { index, term, parts } = manifest;
    const base = { minIndex: index, baseIndex: index, baseTerm: term };
    let neededMs = clock.monotonicMs();
    for (let number = 1; number <= parts.length; number++) {
      if (this.#isClosed) return closedOutcome;
      const wish = need();
      if (wish !== undefined) neededMs = clock.monotonicMs();
      if (clock.monotonicMs() - neededMs > needlessMsMax) return failed('it is not needed now');
      if (wish !== undefined && wish.minIndex > index) return failed(outpaced(wish.minIndex));
      const answer = await this.#ask(pull, { ...base, part: number });
      if (typeof answer === 'string') return failed(answer);
      const sha256 = (bytes: Uint8Array): Uint8Array => cryptography.sha256(bytes);
      const fault = faultOfPart(answer, { manifest, number, sha256 });
      if (fault !== undefined) return this.#refused(pull, fault);
      await write(answer.content);
      pull.partsDone = number;
    }
    return this.#isClosed ? closedOutcome : undefined;
  }

  /** The answer that has what was asked for, or why there is none. */
  async #ask(pull: Pull, question: SnapshotQuestion): Promise<SnapshotResponse | string> {
    const { links } = this.#options;
    const { member } = pull;
    let silences = 0;
    let busyAnswers = 0;
    for (;;) {
      const answer = await this.#asker.ask(member, question, pull.waitMs);
      if (this.#isClosed) return 'closed';
      if (answer === undefined) {
        pull.waitMs = Math.min(pull.waitMs * 2, answerMsMax);
        silences++;
        const isThere = question.part > 0 && links.get(member.nodeId)?.isUp === true;
        if (!isThere || silences > silencesMax) return 'it did not answer in time';
      } else if (answer.outcome === 'busy') {
        if (++busyAnswers > busyAnswersMax) return reasonOf.busy;
        await this.#asker.pause(Math.min(busyMs * 2 ** (busyAnswers - 1), busyMsMax));
        if (this.#isClosed) return 'closed';
      } else return answer.outcome === 'part' ? answer : reasonOf[answer.outcome];
    }
  }

  /** Looks once more whether it is needed: much may have happened since it was asked for. */
  async #install(manifest: SnapshotManifest): Promise<Outcome> {
    const { need, install } = this.#options;
    const before = need();
    if (before === undefined) return failed('it is not needed now');
    if (before.minIndex > manifest.index) return failed(outpaced(before.minIndex));
    try {
      await install(manifest);
    } catch (error) {
      if (this.#isClosed || !isClustorError(error, 'CLUSTOR_INTEGRITY')) throw error;
      return this.#contradicted(manifest, error.message);
    }
    const after = need();
    return after === undefined || after.minIndex > manifest.index
      ? { kind: 'installed' }
      : failed('it was installed and is needed still');
  }

  /** What is whole and does not fit what is known here is of use to nobody: it goes, and another member is asked. */
  async #contradicted(manifest: SnapshotManifest, detail: string): Promise<Outcome> {
    if (await this.#isGood(manifest)) {
      const { index, term, contentHash } = manifest;
      this.#emit('warn', 'snapshotRefused', { index, term, detail });
      this.#pulled.delete(contentHash);
      await this.#options.folder.remove(manifest);
    }
    return failed(detail);
  }

  #remember({ contentHash }: SnapshotManifest): void {
    this.#pulled.add(contentHash);
    for (const oldest of this.#pulled) {
      if (this.#pulled.size <= pulledMax) break;
      this.#pulled.delete(oldest);
    }
  }

  /** A peer sent what is not right. */
  #refused({ member }: Pull, detail: string): Outcome {
    this.#emit('warn', 'snapshotRefused', { nodeId: member.nodeId, detail });
    return failed(detail);
  }

  #inVain(detail: string): void {
    this.#emit('warn', 'snapshotNotPulled', { attempts: this.#attempts + 1, detail });
    this.#awaitsOwnDisk = false;
    this.#lastFailure = detail;
    this.#againLater();
  }

  /** The own disk, or the replica, did not take it. */
  #notInstalled(error: unknown): void {
    const detail = messageOf(error);
    const code = isClustorError(error) ? error.code : 'CLUSTOR_INTERNAL';
    this.#emit('warn', 'snapshotNotInstalled', { code, detail, attempts: this.#attempts + 1 });
    this.#awaitsOwnDisk = true;
    this.#lastFailure = detail;
    this.#againLater();
  }

  #againLater(): void {
    const { clock } = this.#options;
    const delayMs = repairDelayMs(this.#attempts++);
    this.#nextMs = clock.monotonicMs() + delayMs;
    this.#cancelTimer?.();
    this.#cancelTimer = clock.setTimer(delayMs, () => {
      this.#nextMs = 0;
      this.review();
    });
  }

  #emit(
    level: 'info' | 'warn',
    kind: string,
    fields: Readonly<Record<string, string | number>>,
  ): void {
    const { partitionId, state } = this.#options.replica;
    const { selfReplica: replicaId } = state;
    this.#options.observer.emit({ level, kind, fields: { partitionId, replicaId, ...fields } });
  }
}

function failed(why: string): Outcome {
  return { kind: 'failed', why };
}

function outpaced(minIndex: LogIndex): string {
  return `a snapshot up to entry ${minIndex} is needed meanwhile`;
}
