/** Sending entries to one follower, and what its answers mean for the next ones. */
import { assert, present } from '../base/assert.ts';
import type { LogIndex } from '../base/ids.ts';
import type { AppendRejected, DurabilityAck } from './messages.ts';
import {
  addInflight,
  becomeProbe,
  becomeReplicate,
  becomeSnapshot,
  freeInflight,
  mayStream,
  noteLag,
  type Progress,
} from './progress.ts';
import { lastIndexNotAfterTerm, termAt } from './log-terms.ts';
import type { RaftState, StepContext } from './state.ts';

/** Sends what the follower lacks, as far as its window allows. */
export function replicate(state: RaftState, context: StepContext, progress: Progress): void {
  if (progress.state === 'snapshot' || progress.inDoubt) return;
  if (progress.nextIndex <= state.log.baseIndex) {
    becomeSnapshot(progress);
    context.effects.push({ kind: 'snapshotNeeded', to: progress.member });
    return;
  }
  if (progress.state === 'probe') {
    if (!progress.isProbeSent) sendProbe(state, context, progress);
    return;
  }
  while (progress.nextIndex <= state.log.lastIndex) {
    if (
      progress.inflightEntries >= state.settings.inflightEntriesMax ||
      progress.inflightBytes >= state.settings.inflightBytesMax
    )
      return;
    if (!mayStream(progress, state.now, state.settings.observerBytesPerTick)) return;
    const lastIndex = lastIndexThatFits(state, context, progress.nextIndex);
    const first = progress.nextIndex;
    const bytes = context.log.bytes(first, lastIndex);
    emitAppend(state, context, { progress, prevIndex: (first - 1) as LogIndex, lastIndex, bytes });
    addInflight(progress, { lastIndex, entries: lastIndex - first + 1, bytes });
    progress.nextIndex = (lastIndex + 1) as LogIndex;
  }
}

/** The heartbeat's empty append: asks for an answer while the match is unknown or behind (specification §2.4). */
export function probe(state: RaftState, context: StepContext, progress: Progress): void {
  if (progress.inDoubt) {
    tellDoubt(state, context, progress);
    return;
  }
  // Whether what it needs has been installed; a refusal says that it has not.
  if (progress.state === 'snapshot') {
    emitEmptyAppend(state, context, progress, state.log.baseIndex);
    return;
  }
  if (progress.state === 'probe') {
    progress.isProbeSent = false;
    replicate(state, context, progress);
    return;
  }
  // An observer goes on where its credit had run out.
  replicate(state, context, progress);
  const prevIndex = (progress.nextIndex - 1) as LogIndex;
  if (prevIndex >= state.log.baseIndex) emitEmptyAppend(state, context, progress, prevIndex);
}

/**
 * Takes an acknowledgement in. Returns whether the match index may be counted anew.
 *
 * The ledger number orders the words of one data directory: a lower one is late, unless the node has come up anew since:
 * then its ledger went back, and nothing that it says is believed any more (KER-9).
 */
export function acknowledged(
  state: RaftState,
  context: StepContext,
  word: { readonly progress: Progress; readonly message: DurabilityAck },
): boolean {
  const { progress, message } = word;
  if (progress.inDoubt || !isCurrentWord(state, context, word)) return false;
  // Past the end of this log nothing can have been verified: the word of a broken peer, which must not stop a leader.
  if (
    message.lastFsyncedIndex > state.log.lastIndex ||
    message.lastFsyncedIndex < progress.matchIndex
  )
    return false;
  progress.matchIndex = message.lastFsyncedIndex;
  progress.isMatchKnown = true;
  noteLag(progress, state.log.lastIndex, state.now);
  if (progress.state === 'replicate') {
    freeInflight(progress, message.lastFsyncedIndex);
    // It may hold what is thought not to have left: an observer's stream is wound back on the word of a sender.
    progress.nextIndex = Math.max(progress.nextIndex, message.lastFsyncedIndex + 1) as LogIndex;
  } else if (progress.state === 'probe') becomeReplicate(progress);
  else if (progress.matchIndex >= state.log.baseIndex) becomeReplicate(progress);
  return true;
}

/** Steps back to where the logs may meet, a whole term at a time. */
export function rejected(
  state: RaftState,
  context: StepContext,
  word: { readonly progress: Progress; readonly message: AppendRejected },
): void {
  const { progress, message } = word;
  if (progress.inDoubt || !isCurrentWord(state, context, word)) return;
  if (message.lastIndex < progress.matchIndex) {
    doubtPeer(state, context, progress);
    return;
  }
  // No append of earlier entries can help it: the snapshot that it waits for decides.
  if (progress.state === 'snapshot') return;
  const isStale =
    progress.state === 'probe'
      ? message.rejectedPrevIndex !== progress.nextIndex - 1
      : message.rejectedPrevIndex < progress.matchIndex;
  if (isStale) return;
  const meeting =
    message.conflictTerm === 0
      ? message.lastIndex
      : lastIndexNotAfterTerm(state.log, message.conflictTerm);
  const guess = Math.min(meeting, message.rejectedPrevIndex - 1);
  const floor = Math.max(progress.matchIndex, Math.min(guess, message.rejectedPrevIndex - 1));
  becomeProbe(progress, (Math.max(floor, 0) + 1) as LogIndex);
  replicate(state, context, progress);
}

/** A new connection: what was in flight is lost. */
export function peerConnected(
  state: RaftState,
  context: StepContext,
  connected: { readonly progress: Progress; readonly newBoot: boolean },
): void {
  const { progress, newBoot } = connected;
  if (newBoot) progress.isBootFresh = true;
  if (progress.inDoubt) return;
  if (progress.state !== 'snapshot')
    becomeProbe(
      progress,
      progress.isMatchKnown ? ((progress.matchIndex + 1) as LogIndex) : progress.nextIndex,
    );
  replicate(state, context, progress);
}

function isCurrentWord(
  state: RaftState,
  context: StepContext,
  word: { readonly progress: Progress; readonly message: { readonly ledgerSeq: number } },
): boolean {
  const { progress, message } = word;
  const isBootFresh = progress.isBootFresh;
  progress.isBootFresh = false;
  if (message.ledgerSeq < progress.ledgerSeq) {
    if (isBootFresh) doubtPeer(state, context, progress);
    return false;
  }
  progress.ledgerSeq = message.ledgerSeq;
  return true;
}

function doubtPeer(state: RaftState, context: StepContext, progress: Progress): void {
  progress.inDoubt = true;
  context.effects.push({
    kind: 'peerInDoubt',
    member: progress.member,
    matchIndex: progress.matchIndex,
  });
  tellDoubt(state, context, progress);
}

/** An empty append behind what it once acknowledged, or behind the start of the log where that is gone. */
function tellDoubt(state: RaftState, context: StepContext, progress: Progress): void {
  const prevIndex = Math.max(progress.matchIndex, state.log.baseIndex) as LogIndex;
  emitEmptyAppend(state, context, progress, prevIndex);
}

function sendProbe(state: RaftState, context: StepContext, progress: Progress): void {
  const prevIndex = (progress.nextIndex - 1) as LogIndex;
  const isEmpty =
    progress.nextIndex > state.log.lastIndex ||
    !mayStream(progress, state.now, state.settings.observerBytesPerTick);
  const lastIndex = isEmpty ? prevIndex : lastIndexThatFits(state, context, progress.nextIndex);
  const bytes = isEmpty ? 0 : context.log.bytes(progress.nextIndex, lastIndex);
  emitAppend(state, context, { progress, prevIndex, lastIndex, bytes });
  progress.isProbeSent = true;
}

function lastIndexThatFits(state: RaftState, context: StepContext, firstIndex: LogIndex): LogIndex {
  const lastIndexMax = Math.min(
    state.log.lastIndex,
    firstIndex + state.settings.appendEntriesMax - 1,
  ) as LogIndex;
  return context.log.fit(firstIndex, lastIndexMax, state.settings.appendBytesMax);
}

function emitEmptyAppend(
  state: RaftState,
  context: StepContext,
  progress: Progress,
  prevIndex: LogIndex,
): void {
  emitAppend(state, context, { progress, prevIndex, lastIndex: prevIndex, bytes: 0 });
}

function emitAppend(
  state: RaftState,
  context: StepContext,
  append: {
    readonly progress: Progress;
    readonly prevIndex: LogIndex;
    readonly lastIndex: LogIndex;
    readonly bytes: number;
  },
): void {
  const { progress, prevIndex, lastIndex, bytes } = append;
  if (progress.member.role === 'observer') progress.creditBytes -= bytes;
  assert(state.durableTerm === state.term, "a leader's term is durable");
  context.effects.push({
    kind: 'sendAppend',
    to: progress.member,
    term: state.term,
    prevIndex,
    prevTerm: present(termAt(state.log, prevIndex), 'a leader sends only what its log holds'),
    lastIndex,
    commit: state.commitIndex,
    receiverInDoubt: progress.inDoubt,
    needsSnapshot: progress.state === 'snapshot' && !progress.inDoubt,
    bytes,
  });
}
