/**
 * Changing the keys of a data directory while it is used (specification §8.2).
 *
 * A rotation makes new keys durable in the ring, then enters a new segment and a new ledger generation under them; from then
 * on the older keys only open. Old segments are sealed anew in the background, one after the other, and once no file on the
 * disk names an epoch any more, its keys are destroyed: what the headers on the disk say decides, not what is remembered.
 * A start goes on where the last process stopped; a directory that was not encrypted before is rewritten the same way.
 */
import { ClustorError, isClustorError, messageOf } from '../base/errors.ts';
import type { LedgerRecord } from '../codec/ledger-records.ts';
import { blockBytes, blockOffset } from '../codec/segment-format.ts';
import type { KeyEpochState } from '../codec/key-ring-format.ts';
import { rotateKeysAfterMsDefault } from '../policy/key-rotation.ts';
import { isBadSector } from './block-reads.ts';
import { closedError } from './chain-failure.ts';
import { asDiskHard } from './full-disk.ts';
import { readKeyEvidence, type JournalKeys } from './journal-keys.ts';
import { KeySchedule } from './key-schedule.ts';
import { segmentClosedRecord, type LedgerImage } from './ledger-image.ts';
import type { LogStoreOptions } from './log-store-types.ts';
import type { TrailerWriter } from './trailer-writer.ts';
import { salvageKeyEpochs } from './segment-salvage.ts';
import { snapshotKeyEpochs } from './snapshot-files.ts';
import { syncSnapshotNames } from './snapshot-listing.ts';
import { rewriteChunkBlocks, rewriteSegment, type RewriteParts } from './segment-rewriter.ts';

/** What the desk needs of its store. */
export interface KeyDeskStore {
  readonly keys: JournalKeys;
  readonly image: LedgerImage;
  /** Whether so many bytes would leave enough of the disk to entries. */
  readonly hasRoomFor: (bytes: number) => Promise<boolean>;
  /** What a segment takes that is still to be made before keys can change; 0 when one is ready. */
  readonly missingSegmentBytes: () => number;
  /** Resolves when the record is durable. */
  readonly record: (record: LedgerRecord) => Promise<void>;
  /** Resolves when a segment and a ledger generation under the newest keys are in use. */
  readonly enterNewKeys: () => Promise<void>;
  readonly trailers: TrailerWriter;
  readonly segmentInUse: () => number;
  /** A segment's file is about to be replaced. */
  readonly replacing: (segmentSeq: number) => void;
  /** Reads from now on open the segment's new file. */
  readonly leaveFile: (segmentSeq: number) => Promise<void>;
}

/** One key epoch. @public */
export interface KeyEpochStatus {
  readonly epoch: number;
  readonly state: KeyEpochState;
  readonly createdMs: number;
  /** The KEK that wraps its keys; empty once they are destroyed. */
  readonly kekId: string;
  /** Segments sealed under it. */
  readonly segments: number;
}

/** The keys of a node's data directory. @public */
export interface KeyStatus {
  readonly isEncrypted: boolean;
  /** Where the KEK is; empty without encryption. */
  readonly provider: string;
  /** By rising epoch. */
  readonly epochs: readonly KeyEpochStatus[];
  /** Segments without encryption. */
  readonly plainSegments: number;
  /** Closed segments that wait to be sealed under the newest keys, the one at work included. */
  readonly segmentsToRewrite: number;
  /** Segments that this process has rewritten. */
  readonly segmentsRewritten: number;
  /** The segment at work; 0 when none is. */
  readonly rewritingSegmentSeq: number;
  readonly rewritingBlocksDone: number;
  readonly rewritingBlocks: number;
  /** Why the last attempt failed; it is repeated, for a damaged segment at the next start or rotation. */
  readonly lastFailure: string;
  /** Age of the newest keys by the wall clock, milliseconds. */
  readonly ageMs: number;
  /** Age at which they are made anew by themselves, milliseconds; 0 where only operators change keys. */
  readonly rotateAfterMs: number;
  /** Milliseconds until that, nodes apart from each other; 0 where it never is. */
  readonly nextRotationInMs: number;
  /** Why the last change by schedule failed; it is tried again after ten minutes. */
  readonly rotationFailure: string;
}

/** The keys of a node's data directory. @public */
export interface NodeKeys {
  /** What there is and what goes on. */
  status(): KeyStatus;
  /** Makes new keys and seals everything new under them when it resolves; old segments follow. @throws ClustorError `CLUSTOR_NOT_ENCRYPTED`, or of the key provider. */
  rotate(): Promise<KeyStatus>;
}

const retryMs = 10_000;

/** See the file comment. */
export class JournalKeyDesk implements NodeKeys {
  readonly #options: LogStoreOptions;
  readonly #store: KeyDeskStore;
  #staging: Uint8Array | undefined;
  /** Changes of the ring, one after the other. */
  #changes: Promise<unknown> = Promise.resolve();
  #rewriting: Promise<void> | undefined;
  #isAskedAgain = false;
  #cancelRetry: (() => void) | undefined;
  #isClosed = false;
  #work = { segmentSeq: 0, blocksDone: 0, blocks: 0 };
  #rewritten = 0;
  #lastFailure = '';
  readonly #schedule: KeySchedule | undefined;
  /** Wraps the keys of all snapshots of this directory under the newest epoch; set by whoever has their folders. */
  rewrapSnapshots: () => Promise<void> = () => Promise.resolve();

  constructor(options: LogStoreOptions, store: KeyDeskStore) {
    this.#options = options;
    this.#store = store;
    const { encryption, clock, observer, nodeId } = options;
    const { rotateAfterMs = rotateKeysAfterMsDefault } = encryption ?? { rotateAfterMs: 'never' };
    if (rotateAfterMs === 'never') return;
    this.#schedule = new KeySchedule({
      plan: { nodeId, rotateAfterMs },
      clock,
      observer,
      ring: () => this.keys.ring,
      rotate: () => this.rotate(),
    });
  }

  /** What seals and opens. */
  get keys(): JournalKeys {
    return this.#store.keys;
  }

  status(): KeyStatus {
    const { ring } = this.keys;
    const counts = new Map<number, number>();
    for (const segmentSeq of this.#store.image.segments.keys()) {
      const epoch = this.keys.epochOf(segmentSeq);
      if (epoch !== undefined) counts.set(epoch, (counts.get(epoch) ?? 0) + 1);
    }
    return {
      isEncrypted: ring !== undefined,
      provider: this.#options.encryption?.keyProvider.name ?? '',
      epochs: (ring?.content.rows ?? []).map(({ epoch, state, createdMs, kekId }) => ({
        epoch,
        state,
        createdMs,
        kekId,
        segments: counts.get(epoch) ?? 0,
      })),
      plainSegments: counts.get(0) ?? 0,
      segmentsToRewrite: this.#oldSegments().length,
      segmentsRewritten: this.#rewritten,
      rewritingSegmentSeq: this.#work.segmentSeq,
      rewritingBlocksDone: this.#work.blocksDone,
      rewritingBlocks: this.#work.blocks,
      lastFailure: this.#lastFailure,
      ...this.#ages(),
    };
  }

  #ages(): Pick<KeyStatus, 'ageMs' | 'rotateAfterMs' | 'nextRotationInMs' | 'rotationFailure'> {
    const { encryption, clock } = this.#options;
    const { createdMs } = this.keys.ring?.content.rows.at(-1) ?? {};
    const { rotateAfterMs = rotateKeysAfterMsDefault } = encryption ?? {};
    const schedule = this.#schedule;
    return {
      ageMs: createdMs === undefined ? 0 : Math.max(0, clock.wallMs() - createdMs),
      rotateAfterMs: schedule === undefined || rotateAfterMs === 'never' ? 0 : rotateAfterMs,
      nextRotationInMs: Math.round(schedule?.nextInMs() ?? 0),
      rotationFailure: schedule?.lastFailure ?? '',
    };
  }

  async rotate(): Promise<KeyStatus> {
    const { ring } = this.keys;
    if (ring === undefined)
      throw new ClustorError('CLUSTOR_NOT_ENCRYPTED', 'this node has no keys to rotate');
    const { entropy, clock, observer } = this.#options;
    await this.#change(async () => {
      if (this.#isClosed) throw closedError();
      // The segment that is entered must not be one of those kept for entries.
      if (!(await this.#store.hasRoomFor(this.#store.missingSegmentBytes())))
        throw new ClustorError('CLUSTOR_DISK_HARD', 'there is no room for a new segment');
      try {
        await ring.addEpoch(entropy, clock.wallMs());
      } catch (error) {
        throw asDiskHard(error);
      }
      await this.#store.enterNewKeys();
      const fields = { epoch: ring.newestEpoch };
      observer.emit({ level: 'info', kind: 'keysRotated', fields });
    });
    this.begin();
    return this.status();
  }

  /** Rewrites what is sealed under older keys, if anything is. */
  begin(): void {
    if (this.keys.ring === undefined || this.#isClosed) return;
    if (this.#rewriting !== undefined) {
      this.#isAskedAgain = true;
      return;
    }
    this.#cancelRetry?.();
    this.#rewriting = this.#rewriteAll().finally(() => {
      this.#rewriting = undefined;
      if (!this.#isAskedAgain) return;
      this.#isAskedAgain = false;
      this.begin();
    });
  }

  /** Resolves when no change of the ring is under way. */
  async changed(): Promise<void> {
    await this.#changes;
  }

  /** Stops what runs in the background. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#schedule?.close();
    this.#cancelRetry?.();
    await this.#rewriting;
  }

  async #rewriteAll(): Promise<void> {
    try {
      if (!(await this.#rewriteReadable())) return;
      await this.rewrapSnapshots();
      await this.#destroyUnneeded();
      this.#lastFailure = '';
    } catch (error) {
      if (this.#isClosed) return;
      // Newer keys came, or the segment went: it is looked at again, and nothing is wrong.
      if (!isClustorError(error, 'CLUSTOR_CLOSED')) this.#failed(this.#work.segmentSeq, error);
      this.#cancelRetry = this.#options.clock.setTimer(retryMs, () => {
        this.begin();
      });
    } finally {
      this.#work = { segmentSeq: 0, blocksDone: 0, blocks: 0 };
    }
  }

  /** Returns whether all are rewritten: one that is damaged stays, until the next start or rotation, and keeps its keys. */
  async #rewriteReadable(): Promise<boolean> {
    const damaged = new Set<number>();
    for (;;) {
      const next = this.#oldSegments().find(({ segmentSeq }) => !damaged.has(segmentSeq));
      if (next === undefined) return damaged.size === 0;
      try {
        await this.#rewrite(next);
      } catch (error) {
        if (!isClustorError(error, 'CLUSTOR_INTEGRITY') && !isBadSector(error)) throw error;
        damaged.add(next.segmentSeq);
        this.#failed(next.segmentSeq, error);
      }
    }
  }

  #failed(segmentSeq: number, error: unknown): void {
    this.#lastFailure = `segment ${segmentSeq}: ${messageOf(error)}`;
    const fields = { segmentSeq, message: messageOf(error) };
    this.#options.observer.emit({ level: 'warn', kind: 'segmentNotRewritten', fields });
  }

  async #rewrite(segment: {
    readonly segmentSeq: number;
    readonly endOffset: number;
  }): Promise<void> {
    const { fileSystem, clock, entropy, directory } = this.#options;
    const { segmentSeq, endOffset } = segment;
    const { image, record, keys } = this.#store;
    this.#staging ??= fileSystem.allocateStaging(rewriteChunkBlocks * blockBytes);
    const blocks = (endOffset - blockOffset(0)) / blockBytes;
    this.#work = { segmentSeq, blocksDone: 0, blocks };
    if (!(await this.#store.hasRoomFor(endOffset)))
      throw new ClustorError(
        'CLUSTOR_DISK_HARD',
        `there is no room to seal segment ${segmentSeq} anew`,
      );
    let isLeftAlone = false;
    const parts: RewriteParts = {
      fileSystem,
      clock,
      entropy,
      folder: `${directory}/wal`,
      keys,
      staging: this.#staging,
      goesOn: () => !this.#isClosed && image.segments.has(segmentSeq),
      reserve: (dekEpoch, reservedBlocks) =>
        record({ kind: 'segmentRewriting', segmentSeq, dekEpoch, reservedBlocks }),
      retractTrailer: async () => {
        isLeftAlone = true;
        await this.#retractTrailer(segment);
      },
      replacing: () => {
        this.#store.replacing(segmentSeq);
      },
      progress: (blocksDone) => {
        this.#work = { segmentSeq, blocksDone, blocks };
      },
    };
    try {
      await rewriteSegment(parts, segment);
    } catch (error) {
      await this.#abandon(segmentSeq);
      throw error;
    } finally {
      if (isLeftAlone && image.segments.has(segmentSeq)) this.#store.trailers.add(segment);
    }
    const row = image.segments.get(segmentSeq);
    if (row !== undefined) row.rewriting = undefined;
    await this.#store.leaveFile(segmentSeq);
    this.#rewritten++;
  }

  /** The file that comes has no trailer: a start between its rename and its trailer must not miss one (SCR-5). */
  async #retractTrailer(segment: {
    readonly segmentSeq: number;
    readonly endOffset: number;
  }): Promise<void> {
    const { segmentSeq, endOffset } = segment;
    const { image, record, trailers } = this.#store;
    await trailers.leaveAlone(segmentSeq);
    // Its trailer may be told and not yet in the ledger: this record is behind it.
    if (image.segments.has(segmentSeq)) await record(segmentClosedRecord(segmentSeq, endOffset));
  }

  /** Gives up the block numbers of an attempt that failed; where that cannot be recorded, the next start does. */
  async #abandon(segmentSeq: number): Promise<void> {
    const { image, record } = this.#store;
    const { reservedBlocks } = image.segments.get(segmentSeq)?.rewriting ?? {};
    if (reservedBlocks === undefined) return;
    const { blocksDone: blocksSpent } = this.#work;
    const reason = 'rewriteInterrupted';
    await record({ kind: 'nonceAbandon', segmentSeq, reason, reservedBlocks, blocksSpent }).catch(
      () => undefined,
    );
  }

  /** Closed segments that are not sealed under the newest keys. */
  #oldSegments(): readonly { readonly segmentSeq: number; readonly endOffset: number }[] {
    const newest = this.keys.ring?.newestEpoch ?? 0;
    const inUse = this.#store.segmentInUse();
    return [...this.#store.image.segments.values()].flatMap(({ segmentSeq, endOffset }) => {
      const epoch = this.keys.epochOf(segmentSeq);
      const isOld = epoch !== undefined && epoch < newest && segmentSeq !== inUse;
      return isOld && endOffset !== undefined ? [{ segmentSeq, endOffset }] : [];
    });
  }

  /** What the headers on the disk do not name is needed by nothing; a segment without a readable header keeps everything. */
  async #destroyUnneeded(): Promise<void> {
    const { fileSystem, directory, observer, encryption } = this.#options;
    const { ring } = this.keys;
    await this.#change(async () => {
      const sha256 = (bytes: Uint8Array): Uint8Array =>
        encryption?.cryptography.sha256(bytes) ?? new Uint8Array(0);
      const snapshots = await snapshotKeyEpochs(fileSystem, directory, sha256);
      const evidence = await readKeyEvidence(fileSystem, `${directory}/wal`);
      // What a segment that goes meanwhile gives up is there by then.
      const salvaged = await salvageKeyEpochs(fileSystem, directory);
      // A name that is gone and comes back behind a power failure would need its keys.
      await fileSystem.syncDirectory(`${directory}/wal`);
      const isAllRead = [...this.#store.image.segments.keys()].every((segmentSeq) =>
        evidence.segments.has(segmentSeq),
      );
      const lowest = Math.min(...evidence.named.values(), ...snapshots.values(), ...salvaged);
      const { rows = [], firstSegmentSeq = 0 } = ring?.content ?? {};
      const isLeft = rows.some((row) => row.state !== 'destroyed' && row.epoch < lowest);
      if (this.#isClosed || !isAllRead || lowest < 1 || !(isLeft || firstSegmentSeq > 0)) return;
      // So would a snapshot that was removed, or whose key was wrapped anew.
      await syncSnapshotNames(fileSystem, directory);
      for (const epoch of (await ring?.destroyBefore(lowest)) ?? [])
        observer.emit({ level: 'info', kind: 'keysDestroyed', fields: { epoch } });
    });
  }

  #change(run: () => Promise<void>): Promise<void> {
    const changed = this.#changes.then(run);
    this.#changes = changed.catch(() => undefined);
    return changed;
  }
}
