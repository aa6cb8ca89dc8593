/**
 * Giving snapshots to a replica whose log lacks what nobody keeps as entries any more. Nobody need lead for it: a snapshot
 * stands for committed entries, whoever holds it.
 *
 * What was asked for is not deleted under the one who asks: it is leased for ten seconds with every question, and so are the
 * entries behind it, which the asker needs next.
 */
import { isClustorError, messageOf } from '../base/errors.ts';
import type { LogIndex, NodeId } from '../base/ids.ts';
import {
  encodeManifest,
  isSamePlace,
  type SnapshotManifest,
  type SnapshotPlace,
} from '../codec/snapshot-manifest.ts';
import { bodyBytesMax } from '../codec/wire-catalog.ts';
import type { Clock } from '../ports/clock.ts';
import type { Observer } from '../ports/observer.ts';
import type { RaftState } from '../raft/index.ts';
import type { SnapshotFolder } from '../storage/snapshot-folder.ts';
import type { PeerLinks } from './peer-links.ts';
import type { Message } from './wire-session.ts';

/** A wish for a part of a snapshot; part 0 is its manifest. */
export type SnapshotRequest = Extract<Message, { readonly kind: 'snapshotRequest' }>;
/** The answer to it. */
export type SnapshotResponse = Extract<Message, { readonly kind: 'snapshotResponse' }>;

/** Who hears what nodes say to each other of snapshots. */
export interface SnapshotWords {
  /** A peer asks for a part. */
  serve(fromNode: NodeId, request: SnapshotRequest): void;
  /** A peer answered. */
  answered(response: SnapshotResponse): void;
}

/** Where served snapshots come from. */
export type SnapshotSource = Pick<SnapshotFolder, 'published' | 'part'>;

/** What serving needs. */
export interface SnapshotServerOptions {
  readonly state: RaftState;
  readonly source: SnapshotSource;
  readonly links: PeerLinks;
  readonly clock: Clock;
  readonly observer: Observer;
}

/** For how long an asked snapshot stays, milliseconds. */
const leaseMs = 10_000;
/** Bytes of a content that fits into an answer, with room for what stands before it. */
export const snapshotContentBytesMax: number = bodyBytesMax - 4_096;
const noBytes = new Uint8Array(0);

interface Lease extends SnapshotPlace {
  readonly untilMs: number;
}

type Answer =
  | { readonly outcome: Exclude<SnapshotResponse['outcome'], 'part'> }
  | { readonly outcome: 'part'; readonly place: SnapshotPlace; readonly content: Uint8Array };

/** See the file comment. */
export class SnapshotServer {
  readonly #options: SnapshotServerOptions;
  /** By place; no more than there are published ones. */
  readonly #leases = new Map<string, Lease>();
  /** Content hashes of published snapshots of which a part could not be read. */
  readonly #damaged = new Set<string>();
  /** One part at a time: a peer that was away is no reason to be slow for others. */
  #isReading = false;
  #isClosed = false;

  constructor(options: SnapshotServerOptions) {
    this.#options = options;
  }

  /** Answers a request. */
  async serve(fromNode: NodeId, request: SnapshotRequest): Promise<void> {
    if (this.#isClosed) return;
    const manifest = this.#provesNothing ? undefined : this.#wanted(request);
    if (manifest === undefined) {
      this.#answer(fromNode, request, { outcome: request.baseIndex === 0 ? 'none' : 'gone' });
      return;
    }
    this.#lease(manifest);
    if (request.part === 0) this.#answer(fromNode, request, this.#manifestAnswer(manifest));
    else await this.#servePart(fromNode, request, manifest);
  }

  /** Whether a snapshot is being fetched by somebody. */
  isLeased(place: SnapshotPlace): boolean {
    this.#expire();
    return this.#leases.has(keyOf(place));
  }

  /** Indexes of the snapshots that are being fetched, in no order. */
  get leasedIndexes(): readonly LogIndex[] {
    this.#expire();
    return [...this.#leases.values()].map(({ index }) => index);
  }

  /** The lowest index of a snapshot that is being fetched: entries behind it are needed next. */
  leaseFloor(): LogIndex | undefined {
    const indexes = this.leasedIndexes;
    return indexes.length === 0 ? undefined : (Math.min(...indexes) as LogIndex);
  }

  /** Nothing is answered any more. */
  close(): void {
    this.#isClosed = true;
  }

  /** What this replica knows to be committed may be of a ledger that lost records. It says that it has nothing, for it is waited for. */
  get #provesNothing(): boolean {
    return this.#options.state.hasLostEvidence;
  }

  #wanted(request: SnapshotRequest): SnapshotManifest | undefined {
    const { published } = this.#options.source;
    const { baseIndex, baseTerm, minIndex } = request;
    const asked = { index: baseIndex, term: baseTerm };
    if (baseIndex !== 0) return published.find((manifest) => isSamePlace(manifest, asked));
    for (const hash of this.#damaged)
      if (!published.some(({ contentHash }) => contentHash === hash)) this.#damaged.delete(hash);
    const good = published.filter(
      (manifest) => manifest.index >= minIndex && !this.#damaged.has(manifest.contentHash),
    );
    return good.at(-1);
  }

  /** What each node seals a snapshot with is its own matter: it is not sent. */
  #manifestAnswer(manifest: SnapshotManifest): Answer {
    const content = encodeManifest({ ...manifest, encryption: undefined });
    return content.length > snapshotContentBytesMax
      ? { outcome: 'none' }
      : { outcome: 'part', place: manifest, content };
  }

  async #servePart(
    fromNode: NodeId,
    request: SnapshotRequest,
    manifest: SnapshotManifest,
  ): Promise<void> {
    const { source, links } = this.#options;
    const { part } = request;
    if (part > manifest.parts.length) {
      this.#answer(fromNode, request, { outcome: 'none' });
      return;
    }
    // Entries go first: a way that is full takes no part besides.
    if (this.#isReading || links.get(fromNode)?.isCongested === true) {
      this.#answer(fromNode, request, { outcome: 'busy' });
      return;
    }
    this.#isReading = true;
    try {
      const content = await source.part(manifest, part);
      this.#lease(manifest);
      this.#answer(fromNode, request, { outcome: 'part', place: manifest, content });
    } catch (error) {
      this.#answer(fromNode, request, { outcome: this.#failed(manifest, part, error) });
    } finally {
      this.#isReading = false;
    }
  }

  /** A part could not be read: because the snapshot went meanwhile, or because it is damaged. */
  #failed(manifest: SnapshotManifest, part: number, error: unknown): 'gone' | 'damaged' {
    const { source, observer } = this.#options;
    const { contentHash } = manifest;
    if (!source.published.some((other) => other.contentHash === contentHash)) return 'gone';
    if (this.#isClosed || this.#provesNothing) return 'damaged';
    if (isClustorError(error, 'CLUSTOR_INTEGRITY')) this.#damaged.add(contentHash);
    const { partitionId, index, term } = manifest;
    observer.emit({
      level: 'warn',
      kind: 'snapshotUnreadable',
      fields: { partitionId, index, term, part, detail: messageOf(error) },
    });
    return 'damaged';
  }

  #lease(manifest: SnapshotManifest): void {
    this.#expire();
    const { index, term } = manifest;
    const untilMs = this.#options.clock.monotonicMs() + leaseMs;
    this.#leases.set(keyOf(manifest), { index, term, untilMs });
  }

  #expire(): void {
    const nowMs = this.#options.clock.monotonicMs();
    for (const [key, { untilMs }] of this.#leases) if (untilMs <= nowMs) this.#leases.delete(key);
  }

  #answer(toNode: NodeId, request: SnapshotRequest, answer: Answer): void {
    if (this.#isClosed) return;
    const { state, links } = this.#options;
    const found = answer.outcome === 'part' && !this.#provesNothing ? answer : undefined;
    links.get(toNode)?.send(
      {
        kind: 'snapshotResponse',
        partitionId: request.partitionId,
        toIncarnation: request.fromIncarnation,
        fromReplica: state.selfReplica,
        fromIncarnation: state.selfIncarnation,
        sequence: request.sequence,
        outcome: found === undefined && answer.outcome === 'part' ? 'gone' : answer.outcome,
        baseIndex: found?.place.index ?? request.baseIndex,
        baseTerm: found?.place.term ?? request.baseTerm,
        part: request.part,
        content: noBytes,
        trailingBytes: found?.content.length ?? 0,
      },
      found === undefined ? [] : [found.content],
    );
  }
}

function keyOf({ index, term }: SnapshotPlace): string {
  return `${term}-${index}`;
}
