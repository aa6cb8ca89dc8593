/** What can happen to a core: messages, time, completions of storage, requests of the owner. */
import type { LogIndex, NodeId, Term } from '../base/ids.ts';
import type { PeerMessage } from './messages.ts';
import type { Vote } from './state.ts';

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
  /** Asks for a read index; answered by `readReady` or `readFailed` with the same id. Only for a leader. */
  | { readonly kind: 'readIndex'; readonly readId: number }
  /** The leader vouched for its commit index in an answer outside heartbeats (a forwarded read). */
  | { readonly kind: 'leaderCommit'; readonly term: Term; readonly commit: LogIndex }
  /** A new connection to the node was made; what was in flight on the old one is lost. */
  | { readonly kind: 'peerConnected'; readonly nodeId: NodeId; readonly newBoot: boolean }
  /** The connection to the node closed and the immediate reconnect was refused (specification §2.2). */
  | { readonly kind: 'nodeUnreachable'; readonly nodeId: NodeId }
  /** This replica was found in doubt (KER-9): it neither campaigns, votes nor acknowledges from now on. */
  | { readonly kind: 'doubt' };
