/**
 * Sends entries to peers in the order that the core decided, from memory or, for laggards, from the log.
 *
 * While entries of a peer are being read from disk, later appends to the same peer wait behind them: a follower that sees
 * them out of order would refuse them all. What was queued in another term or for another link is dropped as lost.
 *
 * How large entries on disk are is known only when they were read. An observer, whose stream is capped, gets one batch of
 * them, and the core is told what that was; what it had let go beyond is dropped here and let go again there.
 */
import { assert } from '../base/assert.ts';
import type { LogIndex, PartitionId, ReplicaId, Term } from '../base/ids.ts';
import type { ReplicaLife } from '../base/membership.ts';
import { packFlags } from '../codec/wire-flags.ts';
import { termAt, type Effect, type RaftState } from '../raft/index.ts';
import type { PartitionLog } from '../storage/partition-log.ts';
import { readChecked } from './checked-read.ts';
import { lastTermOf, type EntryTail } from './entry-tail.ts';
import type { PeerLink, PeerLinks } from './peer-links.ts';

type SendAppend = Extract<Effect, { kind: 'sendAppend' }>;

/** What a sender needs from its replica. */
export interface AppendSenderOptions {
  readonly partitionId: PartitionId;
  readonly tail: EntryTail;
  readonly log: PartitionLog;
  readonly links: PeerLinks;
  readonly state: RaftState;
  /** Of an append to an observer no more than this left, and so many bytes more than the core thought. */
  readonly streamed: (to: ReplicaLife, lastIndex: LogIndex, extraBytes: number) => void;
}

const noBytes = new Uint8Array(0);
const coldReadBytesMax = 1024 * 1024;

/** See the file comment. */
export class AppendSender {
  readonly #options: AppendSenderOptions;
  /** Appends that wait behind a read from disk, per peer; bounded by the core's window. */
  readonly #waiting = new Map<ReplicaId, SendAppend[]>();

  constructor(options: AppendSenderOptions) {
    this.#options = options;
  }

  /** Carries out a `sendAppend`. */
  send(effect: SendAppend): void {
    const link = this.#options.links.get(effect.to.nodeId);
    if (!link?.isUp) return;
    const waiting = this.#waiting.get(effect.to.replicaId);
    if (waiting !== undefined) {
      waiting.push(effect);
      return;
    }
    if (!this.#sendWarm(link, effect)) void this.#sendCold(effect);
  }

  #sendWarm(link: PeerLink, effect: SendAppend): boolean {
    const isProbe = effect.lastIndex <= effect.prevIndex;
    const views = isProbe
      ? []
      : this.#options.tail.slice((effect.prevIndex + 1) as LogIndex, effect.lastIndex);
    if (views === undefined) return false;
    if (link.isCongested && !isProbe) return true;
    this.#write(link, effect, views);
    return true;
  }

  /** Reads entries from the log and sends them in as many messages as it takes, then what waited behind. */
  async #sendCold(effect: SendAppend): Promise<void> {
    const { replicaId } = effect.to;
    this.#waiting.set(replicaId, []);
    try {
      await this.#readAndSend(effect);
      for (
        let next = this.#waiting.get(replicaId)?.shift();
        next !== undefined;
        next = this.#waiting.get(replicaId)?.shift()
      ) {
        const link = this.#currentLink(next);
        if (link !== undefined && !this.#sendWarm(link, next)) await this.#readAndSend(next);
      }
    } catch {
      // The log could not be read: the store has reported it, and the peer asks again through the next probe.
    } finally {
      this.#waiting.delete(replicaId);
    }
  }

  async #readAndSend(effect: SendAppend): Promise<void> {
    let prevIndex = effect.prevIndex;
    let prevTerm = effect.prevTerm;
    while (prevIndex < effect.lastIndex) {
      const batch = await readChecked(this.#options, {
        firstIndex: (prevIndex + 1) as LogIndex,
        lastIndex: effect.lastIndex,
        bytesMax: coldReadBytesMax,
      });
      const link = this.#currentLink(effect);
      if (link === undefined || termAt(this.#options.state.log, prevIndex) !== prevTerm) return;
      assert(batch.firstIndex === prevIndex + 1, 'a cold read begins where it was asked to');
      this.#write(link, { ...effect, prevIndex, prevTerm, lastIndex: batch.lastIndex }, [
        batch.bytes,
      ]);
      if (effect.to.role === 'observer') {
        this.#waiting.set(effect.to.replicaId, []);
        const extraBytes = batch.bytes.length - effect.bytes;
        this.#options.streamed(effect.to, batch.lastIndex, extraBytes);
        return;
      }
      prevIndex = batch.lastIndex;
      prevTerm = lastTermOf(batch);
    }
  }

  /** The link, unless the world has moved on since the effect. */
  #currentLink(effect: {
    readonly to: SendAppend['to'];
    readonly term: Term;
  }): PeerLink | undefined {
    const { state, links } = this.#options;
    if (state.role !== 'leader' || state.term !== effect.term) return undefined;
    const link = links.get(effect.to.nodeId);
    return link?.isUp === true ? link : undefined;
  }

  #write(link: PeerLink, effect: SendAppend, views: readonly Uint8Array[]): void {
    let trailingBytes = 0;
    for (const view of views) trailingBytes += view.length;
    const { state, partitionId } = this.#options;
    link.send(
      {
        kind: 'appendEntries',
        partitionId,
        toIncarnation: effect.to.incarnation,
        fromReplica: state.selfReplica,
        fromIncarnation: state.selfIncarnation,
        term: effect.term,
        prevIndex: effect.prevIndex,
        prevTerm: effect.prevTerm,
        commit: state.commitIndex,
        flags: packFlags('appendEntries', effect),
        entryCount: Math.max(0, effect.lastIndex - effect.prevIndex),
        entries: noBytes,
        trailingBytes,
      },
      views,
    );
  }
}
