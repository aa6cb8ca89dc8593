/**
 * Giving entries to a damaged replica of the same partition (specification §5.6). Nobody need lead for it: a position that both
 * logs share proves everything before it (log matching), whether it is committed or not.
 */
import type { LogIndex } from '../base/ids.ts';
import type { IndexRange } from '../base/index-ranges.ts';
import type { RaftState } from '../raft/index.ts';
import type { FrameBatch } from '../storage/log-store-types.ts';
import type { PartitionLog } from '../storage/partition-log.ts';
import { readChecked } from './checked-read.ts';
import { KnownLog, type LogPosition } from './known-log.ts';
import type { PeerLinks } from './peer-links.ts';
import type { Message } from './wire-session.ts';
import type { NodeId } from '../base/ids.ts';

/** A damaged replica's wish. */
export type RepairRequest = Extract<Message, { readonly kind: 'repairRequest' }>;
/** The answer to it. */
export type RepairResponse = Extract<Message, { readonly kind: 'repairResponse' }>;

/** What serving needs. */
export interface RepairServerOptions {
  readonly state: RaftState;
  readonly log: PartitionLog;
  readonly links: PeerLinks;
  /** What is known of the own log while it is damaged itself. */
  readonly known: () => KnownLog | undefined;
}

/** Bytes of one answer, about; one entry always fits. */
const answerBytesMax = 1024 * 1024;
const noBytes = new Uint8Array(0);

/** See the file comment. */
export class RepairServer {
  readonly #options: RepairServerOptions;
  /** One answer at a time: a repair is no reason to be slow for others. */
  #isServing = false;

  constructor(options: RepairServerOptions) {
    this.#options = options;
  }

  /** Answers a request. */
  async serve(fromNode: NodeId, request: RepairRequest): Promise<void> {
    const { state } = this.#options;
    const own = this.#ownLog();
    // A log whose ledger lost records may hold what was truncated: it proves nothing, and says so, for it is waited for.
    const evidence = state.hasLostEvidence ? undefined : sharedEvidence(own, request);
    if (evidence === undefined) {
      this.#answer(fromNode, request, { outcome: 'noEvidence' });
      return;
    }
    const range = this.#readable(own, request);
    if (range === undefined || this.#isServing) {
      this.#answer(fromNode, request, { outcome: range === undefined ? 'damaged' : 'busy' });
      return;
    }
    this.#isServing = true;
    try {
      const batch = await readChecked(this.#options, { ...range, bytesMax: answerBytesMax });
      // The log may have been truncated, or fallen into doubt, while it was read.
      const isShared =
        !state.hasLostEvidence && this.#ownLog().termAt(evidence.index) === evidence.term;
      this.#answer(
        fromNode,
        request,
        isShared ? { outcome: 'entries', evidence, batch } : { outcome: 'noEvidence' },
      );
    } catch {
      // Whoever watches over this log was told already.
      this.#answer(fromNode, request, { outcome: 'damaged' });
    } finally {
      this.#isServing = false;
    }
  }

  #ownLog(): KnownLog {
    return this.#options.known() ?? KnownLog.ofCore(this.#options.state);
  }

  #readable(own: KnownLog, { firstIndex, lastIndex }: RepairRequest): IndexRange | undefined {
    const last = Math.min(lastIndex, own.durableIndex) as LogIndex;
    return last < firstIndex ? undefined : own.readableWithin({ firstIndex, lastIndex: last });
  }

  #answer(
    toNode: NodeId,
    request: RepairRequest,
    answer:
      | { readonly outcome: 'noEvidence' | 'damaged' | 'busy' }
      | {
          readonly outcome: 'entries';
          readonly evidence: LogPosition;
          readonly batch: FrameBatch;
        },
  ): void {
    const { state, links } = this.#options;
    const found = answer.outcome === 'entries' ? answer : undefined;
    const batch = found?.batch;
    links.get(toNode)?.send(
      {
        kind: 'repairResponse',
        partitionId: request.partitionId,
        toIncarnation: request.fromIncarnation,
        fromReplica: state.selfReplica,
        fromIncarnation: state.selfIncarnation,
        sequence: request.sequence,
        outcome: answer.outcome,
        evidenceIndex: found?.evidence.index ?? (0 as LogIndex),
        evidenceTerm: found?.evidence.term ?? (0 as LogPosition['term']),
        firstIndex: batch?.firstIndex ?? request.firstIndex,
        entryCount: batch === undefined ? 0 : batch.lastIndex - batch.firstIndex + 1,
        entries: noBytes,
        trailingBytes: batch?.bytes.length ?? 0,
      },
      batch === undefined ? [] : [batch.bytes],
    );
  }
}

/** A position at or behind the wanted entries at which both logs have the same term. */
function sharedEvidence(own: KnownLog, request: RepairRequest): LogPosition | undefined {
  if (request.firstIndex > request.lastIndex) return undefined;
  return request.evidence.find(
    ({ index, term }) => index >= request.lastIndex && own.termAt(index) === term,
  );
}
