/**
 * What a core wants done.
 *
 * Order contract: effects of one step are carried out in order. `persistHardState`, `truncateLog` and `appendToLog` are
 * handed to storage in exactly this order and become durable in this order; storage answers with `hardStateDurable` and
 * `durable`. Messages may leave at once: whatever must be durable first is held back inside the core (KER-2), so a
 * runtime cannot get it wrong.
 */
import type { LogIndex, NodeId, Term } from '../base/ids.ts';
import type { Configuration, Member, ReplicaLife } from '../base/membership.ts';
import type { OutgoingMessage, Recipient } from './messages.ts';
import type { Role, Vote } from './state.ts';

/**
 * What an entry does to the configuration: `learners` changes members that are not counted, `joint` enters a change of
 * voters, `final` and `rollback` leave it with the new and the old list. @public
 */
export type ConfigurationPhase = 'learners' | 'joint' | 'final' | 'rollback';

/** One effect of {@link step}. @public */
export type Effect =
  | { readonly kind: 'persistHardState'; readonly term: Term; readonly votedFor: Vote | undefined }
  /** Drops entries from `fromIndex` on; they were never committed. */
  | { readonly kind: 'truncateLog'; readonly fromIndex: LogIndex }
  /**
   * Appends `firstIndex … lastIndex` in `term` and makes them durable. `noOp`: entries without content, the one at the start
   * of a term or those that fill a joint phase; `proposals`: the owner's proposals in order; `configuration`: one entry
   * that brings the configuration now in force; `received`: the tail of the append being stepped, beginning at
   * `firstIndex`.
   */
  | {
      readonly kind: 'appendToLog';
      readonly source: 'noOp' | 'proposals' | 'received';
      readonly appendSequence: number;
      readonly firstIndex: LogIndex;
      readonly lastIndex: LogIndex;
      readonly term: Term;
    }
  | {
      readonly kind: 'appendToLog';
      readonly source: 'configuration';
      readonly phase: ConfigurationPhase;
      readonly configuration: Configuration;
      /** Why the old list is back; of a rollback only. */
      readonly reason: string;
      /** Nodes of new voters that were not heard; of a rollback only. */
      readonly failingNodes: readonly NodeId[];
      readonly appendSequence: number;
      readonly firstIndex: LogIndex;
      readonly lastIndex: LogIndex;
      readonly term: Term;
    }
  /** Another configuration is in force, by an append or a truncation, or the one in force was committed. */
  | {
      readonly kind: 'configurationChanged';
      readonly configuration: Configuration;
      readonly isCommitted: boolean;
    }
  /** The transfer did not come about within an election timeout; this replica leads on. */
  | { readonly kind: 'transferAborted'; readonly to: ReplicaLife }
  /** Sends entries `firstIndex … lastIndex` (none when `lastIndex < firstIndex`) to a peer. */
  | {
      readonly kind: 'sendAppend';
      readonly to: Member;
      readonly term: Term;
      readonly prevIndex: LogIndex;
      readonly prevTerm: Term;
      readonly lastIndex: LogIndex;
      readonly commit: LogIndex;
      readonly receiverInDoubt: boolean;
      /** The log begins behind what the peer needs; it is to fetch a snapshot unless this matches. */
      readonly needsSnapshot: boolean;
      /** Bytes of the entries, an estimate where they are no longer in memory. */
      readonly bytes: number;
    }
  | { readonly kind: 'sendMessage'; readonly to: Recipient; readonly message: OutgoingMessage }
  /** The role, term or known leader changed. */
  | {
      readonly kind: 'roleChanged';
      readonly role: Role;
      readonly term: Term;
      readonly leaderNodeId: NodeId | undefined;
      readonly reason: string;
    }
  /** Entries up to `appliableIndex` may be applied: committed, verified and durable here. */
  | {
      readonly kind: 'commitAdvanced';
      readonly commitIndex: LogIndex;
      readonly appliableIndex: LogIndex;
    }
  /** Leadership was confirmed after the read arrived; serve it once `index` is applied. */
  | { readonly kind: 'readReady'; readonly readId: number; readonly index: LogIndex }
  /** The lease holds at this moment; serve it once `index` is applied, if the lease still holds then. */
  | { readonly kind: 'leaseReadReady'; readonly readId: number; readonly index: LogIndex }
  | { readonly kind: 'readFailed'; readonly readId: number }
  /** A follower needs entries that the log no longer has. */
  | { readonly kind: 'snapshotNeeded'; readonly to: Member }
  /** Records in the ledger that this replica is in doubt, before anything else is sent (KER-9). */
  | { readonly kind: 'persistDoubt'; readonly reason: string }
  /** A peer's log went back behind what it acknowledged in this term; it is counted no more. */
  | { readonly kind: 'peerInDoubt'; readonly member: Member; readonly matchIndex: LogIndex };
