/**
 * What a core wants done.
 *
 * Order contract: effects of one step are carried out in order. `persistHardState`, `truncateLog` and `appendToLog` are
 * handed to storage in exactly this order and become durable in this order; storage answers with `hardStateDurable` and
 * `durable`. Messages may leave at once: whatever must be durable first is held back inside the core (KER-2), so a
 * runtime cannot get it wrong.
 */
import type { LogIndex, NodeId, Term } from '../base/ids.ts';
import type { Member } from '../base/membership.ts';
import type { OutgoingMessage, Recipient } from './messages.ts';
import type { Role, Vote } from './state.ts';

/** One effect of {@link step}. @public */
export type Effect =
  | { readonly kind: 'persistHardState'; readonly term: Term; readonly votedFor: Vote | undefined }
  /** Drops entries from `fromIndex` on; they were never committed. */
  | { readonly kind: 'truncateLog'; readonly fromIndex: LogIndex }
  /**
   * Appends `firstIndex … lastIndex` in `term` and makes them durable. `noOp`: one term-start entry; `proposals`: the
   * owner's proposals in order; `received`: the tail of the append being stepped, beginning at `firstIndex`.
   */
  | {
      readonly kind: 'appendToLog';
      readonly source: 'noOp' | 'proposals' | 'received';
      readonly appendSequence: number;
      readonly firstIndex: LogIndex;
      readonly lastIndex: LogIndex;
      readonly term: Term;
    }
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
  | { readonly kind: 'readFailed'; readonly readId: number }
  /** A follower needs entries that the log no longer has. */
  | { readonly kind: 'snapshotNeeded'; readonly to: Member }
  /** Records in the ledger that this replica is in doubt, before anything else is sent (KER-9). */
  | { readonly kind: 'persistDoubt'; readonly reason: string }
  /** A peer's log went back behind what it acknowledged in this term; it is counted no more. */
  | { readonly kind: 'peerInDoubt'; readonly member: Member; readonly matchIndex: LogIndex };
