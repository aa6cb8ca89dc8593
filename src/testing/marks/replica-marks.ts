/**
 * Marks that show in how the state of one replica changes from one event to the next.
 *
 * A state is one object that changes in place, so the few fields that are compared are copied; states of other replicas of the
 * partition are looked at as they are now.
 */
import type { LogIndex } from '../../base/ids.ts';
import { isSameLife, type Configuration } from '../../base/membership.ts';
import { frameIsSystem } from '../../codec/entry-frame.ts';
import { isSticky } from '../../raft/election.ts';
import {
  activeConfiguration,
  isJoint,
  isVoter,
  lastTerm,
  selfLife,
  type RaftState,
} from '../../raft/index.ts';
import type { TappedReplica } from '../sim-tap.ts';
import type { MarkName } from './mark-names.ts';

/** Fields of a state that are compared with those of the next event. */
export interface SeenState {
  readonly role: RaftState['role'];
  readonly term: number;
  readonly truncationSequence: number;
  readonly baseIndex: LogIndex;
  readonly ledgerSeq: number;
  readonly durableIndex: number;
  readonly commitIndex: number;
  readonly termStartIndex: number;
  readonly isHibernating: boolean;
  readonly refused: number;
  readonly isWindowFull: boolean;
  readonly configurations: readonly Configuration[];
  readonly appliedIndex: LogIndex;
}

/** What is compared of a state. */
export function seenOf({ state, appliedIndex }: TappedReplica): SeenState {
  const { leader } = state;
  return {
    role: state.role,
    term: state.term,
    truncationSequence: state.truncationSequence,
    baseIndex: state.log.baseIndex,
    ledgerSeq: state.ledgerSeq,
    durableIndex: state.durableIndex,
    commitIndex: state.commitIndex,
    termStartIndex: leader?.termStartIndex ?? 0,
    isHibernating: state.isHibernating,
    refused: state.role === 'preCandidate' ? (state.campaign?.refused.length ?? 0) : 0,
    isWindowFull: leader?.progress.some(isFull(state)) ?? false,
    configurations: [...state.configurations],
    appliedIndex,
  };
}

/** Whether anything that is compared differs; cheap, because it is asked after every event. */
export function isUnchanged(seen: SeenState, { state, appliedIndex }: TappedReplica): boolean {
  return (
    seen.role === state.role &&
    seen.term === state.term &&
    seen.truncationSequence === state.truncationSequence &&
    seen.baseIndex === state.log.baseIndex &&
    seen.ledgerSeq === state.ledgerSeq &&
    seen.durableIndex === state.durableIndex &&
    seen.commitIndex === state.commitIndex &&
    seen.isHibernating === state.isHibernating &&
    seen.configurations.at(-1) === state.configurations.at(-1) &&
    seen.appliedIndex === appliedIndex &&
    seen.refused === (state.role === 'preCandidate' ? (state.campaign?.refused.length ?? 0) : 0) &&
    seen.isWindowFull === (state.leader?.progress.some(isFull(state)) ?? false)
  );
}

/** Marks of one change; `others` are the states of the partition's other replicas. */
export function marksOfChange(
  before: SeenState,
  { state }: TappedReplica,
  others: readonly RaftState[],
): MarkName[] {
  const now = seenNow(state);
  const isLeading = before.role === 'leader' && state.role === 'leader';
  const { baseIndex } = state.log;
  // What a snapshot stands for was applied here before its entries went, or it came from somebody else.
  const isCompacted = baseIndex > before.baseIndex && baseIndex <= before.appliedIndex;
  const marks: (MarkName | false)[] = [
    before.role === 'leader' && state.term > before.term && 'leaderUnseated',
    state.truncationSequence > before.truncationSequence &&
      baseIndex === before.baseIndex &&
      'logTruncated',
    isCompacted && 'logCompacted',
    state.ledgerSeq > before.ledgerSeq &&
      state.durableIndex === before.durableIndex &&
      state.truncationSequence === before.truncationSequence &&
      state.truncationSequence > 0 &&
      'lateCompletionDropped',
    isLeading &&
      before.commitIndex < now.termStartIndex - 1 &&
      state.commitIndex >= now.termStartIndex &&
      'olderTermCommitted',
    isLeading &&
      state.commitIndex > before.commitIndex &&
      state.commitIndex > state.durableIndex &&
      'commitBeforeOwnDisk',
    now.isWindowFull && !before.isWindowFull && 'windowFull',
    ...sleepMarks(before, state, others),
    ...configurationMarks(before, state),
    ...preVoteMarks(before, state, others),
  ];
  return marks.filter((mark) => mark !== false);
}

/**
 * Indexes behind `before` that were applied without the machine and hold an entry of a user: its key was used before. A
 * snapshot may stand for the first ones.
 */
export function unappliedUserEntries(
  before: SeenState,
  { state, appliedIndex, tail }: TappedReplica,
  isKnownToMachine: (index: LogIndex) => boolean,
): number {
  let count = 0;
  const first = Math.max(before.appliedIndex, state.log.baseIndex) + 1;
  for (let at = first; at <= appliedIndex; at++) {
    const index = at as LogIndex;
    if (isKnownToMachine(index)) continue;
    const [frame] = tail.slice(index, index) ?? [];
    if (frame !== undefined && !frameIsSystem(frame, 0)) count++;
  }
  return count;
}

function seenNow(state: RaftState): {
  readonly termStartIndex: number;
  readonly isWindowFull: boolean;
} {
  const { leader } = state;
  return {
    termStartIndex: leader?.termStartIndex ?? 0,
    isWindowFull: leader?.progress.some(isFull(state)) ?? false,
  };
}

function isFull({ settings }: RaftState) {
  return (row: { readonly inflightEntries: number; readonly inflightBytes: number }): boolean =>
    row.inflightEntries >= settings.inflightEntriesMax ||
    row.inflightBytes >= settings.inflightBytesMax;
}

function sleepMarks(
  before: SeenState,
  state: RaftState,
  others: readonly RaftState[],
): (MarkName | false)[] {
  if (before.isHibernating === state.isHibernating) return [];
  if (state.isHibernating) return [state.role === 'leader' && 'leaderSlept'];
  const isCampaign = others.some(({ role }) => role === 'preCandidate' || role === 'candidate');
  return [
    state.role === 'leader' && 'sleepingLeaderWoken',
    state.role === 'follower' &&
      before.role === 'follower' &&
      before.term === state.term &&
      state.leaderContact !== undefined &&
      isCampaign &&
      'sleeperWokenByCampaign',
  ];
}

function configurationMarks(before: SeenState, state: RaftState): (MarkName | false)[] {
  const active = activeConfiguration(state);
  if (active === before.configurations.at(-1)) return [];
  const previous = state.configurations.at(-2);
  const isExit = !isJoint(active) && previous !== undefined && isJoint(previous);
  const isNew = !before.configurations.includes(active);
  return [
    isNew && isJoint(active) && 'jointEntered',
    isNew && isExit && isSameList(active, previous.outgoingMembers) && 'rollbackAppended',
    isNew && isExit && active.term !== previous.term && 'exitByAnotherLeader',
    isNew &&
      state.role === 'leader' &&
      !isVoter({ ...active, outgoingMembers: [] }, selfLife(state)) &&
      'leaderLeaves',
  ];
}

/** A refusal says nothing of its reason; where the asked one has no newer log and no newer term, it heard its leader. */
function preVoteMarks(
  before: SeenState,
  state: RaftState,
  others: readonly RaftState[],
): MarkName[] {
  const { campaign } = state;
  if (state.role !== 'preCandidate' || campaign === undefined) return [];
  const wasCounted = before.role === 'preCandidate' && before.refused <= campaign.refused.length;
  const refusing = campaign.refused.slice(wasCounted ? before.refused : 0);
  const isSticking = refusing.some((voter) => {
    const asked = others.find((other) => isSameLife(selfLife(other), voter));
    if (asked === undefined || asked.term > state.term || !isSticky(asked)) return false;
    const [own, its] = [lastOf(state), lastOf(asked)];
    return own.term > its.term || (own.term === its.term && own.index >= its.index);
  });
  return isSticking ? ['preVoteRefusedByStickiness'] : [];
}

function lastOf({ log }: RaftState): { readonly index: number; readonly term: number } {
  return { index: log.lastIndex, term: lastTerm(log) };
}

function isSameList(configuration: Configuration, members: Configuration['members']): boolean {
  const { members: own } = configuration;
  return (
    own.length === members.length &&
    own.every((member, at) => {
      const other = members[at];
      return other !== undefined && isSameLife(member, other) && member.role === other.role;
    })
  );
}
