/**
 * The sans-IO consensus core.
 *
 * {@link step} takes a state and one input and writes effects; it never waits, never reads a clock and never touches an
 * entry's bytes. Three rules shape it:
 *
 * 1. **Durability is an input.** The core asks for hard state and entries to be persisted and learns of completion through
 *    `hardStateDurable` and `durable`. Everything that must not be said before (KER-2) is held inside the core, so no
 *    runtime can speak too early. A leader counts itself by the same completion, a follower acknowledges by it.
 * 2. **Quorums ask two halves.** Every agreement goes through `quorum.ts`, which answers for one voter set or for both
 *    halves of a joint configuration.
 * 3. **State is plain data.** {@link cloneRaftState} and {@link fingerprint} let a simulator or an explorer branch at any
 *    step; `invariants.ts` says what must hold in each.
 *
 * Roles live in one file each (`follower`, `election`, `leader`), the leader's view of one peer in `progress` and
 * `replication`, reads in `read-index` and `lease`.
 *
 * @packageDocumentation
 */
export { cloneRaftState, describeRaftState, fingerprint } from './clone.ts';
export {
  compactionFloor,
  configurationAt,
  installationBlock,
  logBehindSnapshot,
  slowestProtected,
  type InstallationBlock,
} from './compaction.ts';
export type { ConfigurationPhase, Effect } from './effects.ts';
export type { Input } from './inputs.ts';
export { checkRaftState, checkRaftTransition } from './invariants.ts';
export { holdsLease, leaseStatus, type LeaseBlock, type LeaseStatus } from './lease.ts';
export type { LogTerms } from './log-terms.ts';
export { firstIndexOfRun, lastTerm, termAt } from './log-terms.ts';
export {
  hasCaughtUp,
  jointStatus,
  membershipBlock,
  type JointStatus,
  type MembershipBlock,
} from './membership.ts';
export type {
  AppendEntries,
  AppendRejected,
  DurabilityAck,
  Heartbeat,
  HeartbeatEcho,
  OutgoingMessage,
  PeerMessage,
  PreVoteRequest,
  PreVoteResponse,
  ReceivedEntries,
  Recipient,
  TimeoutNow,
  VoteRequest,
  VoteResponse,
} from './messages.ts';
export { lagTicks, type Inflight, type Progress } from './progress.ts';
export type { VoteOutcome } from './quorum.ts';
export {
  allMembers,
  hasMajority,
  hasQuorum,
  isJoint,
  isVoter,
  memberOf,
  quorumValue,
  voteOutcome,
  votersOf,
  votersOfBoth,
} from './quorum.ts';
export { checkRaftSettings, defaultRaftSettings, tickMs, type RaftSettings } from './settings.ts';
export {
  activeConfiguration,
  createRaftState,
  leaderNodeId,
  selfLife,
  walCommittedIndex,
  type CampaignState,
  type GivenUp,
  type HeldMessage,
  type JointPhase,
  type LeaderLease,
  type LeaderState,
  type LeaseRounds,
  type LogMeasure,
  type PendingRead,
  type RaftStart,
  type RaftState,
  type Role,
  type StepContext,
  type Transfer,
  type Vote,
  type WholeLog,
} from './state.ts';
export { nextTickDue, start, step } from './step.ts';
export { handOverWaitTicks } from './transfer.ts';
