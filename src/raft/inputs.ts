/** What can happen to a core: messages, time, completions of storage, requests of the owner. */
import type { LogIndex, NodeId, Term } from '../base/ids.ts';
import type { Configuration, Member, ReplicaLife } from '../base/membership.ts';
import type { PeerMessage } from './messages.ts';
import type { Vote, WholeLog } from './state.ts';

/** One input of {@link step}. @public */
export type Input =
  | { readonly kind: 'message'; readonly message: PeerMessage }
  /** Time passed; `context.now` says how far. */
  | { readonly kind: 'tick' }
  /** The process or machine stood still for longer than a heartbeat and has read what arrived meanwhile. */
  | { readonly kind: 'stalled' }
  /** HardState is on stable storage. */
  | { readonly kind: 'hardStateDurable'; readonly term: Term; readonly votedFor: Vote | undefined }
  /** Entries up to `index` are on stable storage, data and ledger record both (KER-12). */
  | {
      readonly kind: 'durable';
      readonly appendSequence: number;
      readonly index: LogIndex;
      readonly term: Term;
      readonly ledgerSeq: number;
    }
  /** The leader's owner has `count` framed-size-known entries to append. Only for a leader. */
  | { readonly kind: 'propose'; readonly count: number }
  /**
   * The leader's owner wants these members; `membershipBlock` answered `undefined` for the state as it is. A list with
   * other voters is entered through a joint phase, which the core leaves by itself (specification §3.1).
   */
  | { readonly kind: 'changeConfiguration'; readonly members: readonly Member[] }
  /** The owner wants the old configuration of a joint phase back; the core goes back as soon as it safely can. */
  | { readonly kind: 'rollBack'; readonly reason: string }
  /** The owner wants another voter to lead; ends with a change of role or with `transferAborted`. Only for a leader. */
  | { readonly kind: 'transferLeadership'; readonly to: ReplicaLife; readonly reason: string }
  /** The owner wants this leader to lead no more, though nobody is there to hand over to (specification ELE-8). */
  | { readonly kind: 'stepDown'; readonly reason: string }
  /** Asks for a read index; answered by `readReady` or `readFailed` with the same id. Only for a leader. */
  | { readonly kind: 'readIndex'; readonly readId: number }
  /** Like `readIndex`, and answered at once by `leaseReadReady` while this leader holds a lease. */
  | { readonly kind: 'leaseRead'; readonly readId: number }
  /** The owner's clock guard raised or cleared its alarm (specification §2.3). */
  | { readonly kind: 'clockAlarm'; readonly isRaised: boolean }
  /** The leader vouched for its commit index in an answer outside heartbeats (a forwarded read). */
  | { readonly kind: 'leaderCommit'; readonly term: Term; readonly commit: LogIndex }
  /** A new connection to the node was made; what was in flight on the old one is lost. */
  | { readonly kind: 'peerConnected'; readonly nodeId: NodeId; readonly newBoot: boolean }
  /** The connection to the node closed and the immediate reconnect was refused (specification §2.2). */
  | { readonly kind: 'nodeUnreachable'; readonly nodeId: NodeId }
  /** The connection to the node is gone; elections that it brings about among sleepers are put off by `delayTicks`. */
  | { readonly kind: 'nodeDown'; readonly nodeId: NodeId; readonly delayTicks: number }
  /** The way to the node and back takes long enough to matter for elections, or no longer does (specification ELE-7). */
  | { readonly kind: 'linkRtt'; readonly nodeId: NodeId; readonly isHigh: boolean }
  /** Of an append to an observer entries up to `lastIndex` left, and `extraBytes` more than `sendAppend` said. Only for a leader. */
  | {
      readonly kind: 'streamed';
      readonly to: ReplicaLife;
      readonly lastIndex: LogIndex;
      readonly extraBytes: number;
    }
  /** The owner was asked for something that needs a leader. */
  | { readonly kind: 'wake' }
  /** This replica was found in doubt (KER-9): it neither campaigns, votes nor acknowledges from now on. */
  | { readonly kind: 'doubt' }
  /** Durable entries of this replica cannot be read: an `Integrity` quarantine begins, its record is under way (specification §5.6). */
  | { readonly kind: 'quarantine' }
  /**
   * Everything up to the highest index that the ledger covers can be read again, and the record that ends the quarantine is
   * durable. `log` where the core began with a part of it.
   */
  | { readonly kind: 'repaired'; readonly log: WholeLog | undefined }
  /**
   * The log begins behind `baseIndex` on stable storage, and a snapshot stands for what went. Above the base, and at most the
   * appliable index; see `compactionFloor`.
   */
  | { readonly kind: 'compacted'; readonly baseIndex: LogIndex }
  /**
   * On stable storage a snapshot stands for the log up to `log.baseIndex`, and what `log` has behind it was kept: see
   * `logBehindSnapshot`. `installationBlock` answered `undefined` for the state as it is. `configuration` was in force there.
   */
  | {
      readonly kind: 'snapshotInstalled';
      readonly log: WholeLog;
      readonly configuration: Configuration;
    }
  /** Whoever sent a snapshot is in this term; older ones change nothing. */
  | { readonly kind: 'termSeen'; readonly term: Term }
  /** A quarantine that stops applying and reading begins or ends; the log goes on (specification §5.6, KER-9). */
  | { readonly kind: 'hold'; readonly isHeld: boolean };
