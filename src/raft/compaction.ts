/**
 * Logs that begin behind a snapshot (specification §7 and §8.1).
 *
 * A log may lose its beginning once a snapshot stands for it: `compacted` says that it has. What a follower lacks may then be gone
 * at its leader, which tells it so with an empty append that is flagged `needsSnapshot`. The follower notes it and its owner
 * fetches a snapshot, from whoever has one. Once that stands for the log on stable storage, in one write with what is kept of the
 * log, `snapshotInstalled` takes it over here.
 *
 * What a snapshot holds was committed, so no more is asked about it: it is committed, verified and durable here too. This is
 * sound only in a term that is not older than the one in which it was committed: else a leader of the past could append its own
 * entries behind it. So the owner gives `termSeen` with the term of whoever sent the snapshot before it begins to write.
 */
import { assert } from '../base/assert.ts';
import type { LogIndex, Term } from '../base/ids.ts';
import type { Configuration } from '../base/membership.ts';
import { wake } from './hibernation.ts';
import type { Input } from './inputs.ts';
import { compactTerms, runsBehind, termAt, type LogTerms } from './log-terms.ts';
import type { Progress } from './progress.ts';
import { advanceCommit, becomeFollower } from './role.ts';
import {
  activeConfiguration,
  forgetOldConfigurations,
  logOfRuns,
  type RaftState,
  type StepContext,
  type WholeLog,
} from './state.ts';

/** The last entry that a snapshot stands for. */
interface Place {
  readonly index: LogIndex;
  readonly term: Term;
}

/** Why a snapshot cannot be installed now. @public */
export type InstallationBlock =
  /** A leader's log is complete. */
  | 'leader'
  /** The log begins behind it already. */
  | 'isBehindBase'
  /** It names a term that was not seen here: `termSeen` first. */
  | 'termUnseen'
  /** Committed entries, or durable ones of this term's leader, say otherwise. */
  | 'conflict';

/** Ticks of silence behind which a follower's needs hold no entries back: 10 s. */
const silentTicksMax = 1_000;
/** Entries of lag beyond which a snapshot is the shorter way. */
const lagEntriesMax = 65_536;

/** Handles the inputs about snapshots. */
export function handleSnapshotInput(
  state: RaftState,
  input: Extract<Input, { kind: 'compacted' | 'snapshotInstalled' | 'termSeen' }>,
  context: StepContext,
): void {
  if (input.kind === 'compacted') compact(state, input.baseIndex);
  else if (input.kind === 'snapshotInstalled') install(state, context, input);
  else if (input.term > state.term)
    becomeFollower(state, context, {
      term: input.term,
      leader: undefined,
      reason: 'a snapshot comes from a newer term',
    });
}

/**
 * Up to where entries may go as far as the members of the partition need them. A leader keeps what a follower that it hears lacks,
 * unless that lags so far that a snapshot is the shorter way. In doubt or in any quarantine nothing goes.
 * @public
 */
export function compactionFloor(state: RaftState): LogIndex {
  const { baseIndex } = state.log;
  if (state.inDoubt || state.isHeld) return baseIndex;
  let floor: number = state.appliableIndex;
  for (const row of state.leader?.progress ?? [])
    if (isProtected(state, row)) floor = Math.min(floor, row.matchIndex);
  return Math.max(floor, baseIndex) as LogIndex;
}

/** The member for whose needs a leader keeps most entries: of those that are heard and are near enough the one that has fewest. @public */
export function slowestProtected(state: RaftState): Progress | undefined {
  return (state.leader?.progress ?? [])
    .filter((row) => isProtected(state, row))
    .reduce<Progress | undefined>(
      (slowest, row) =>
        slowest === undefined || row.matchIndex < slowest.matchIndex ? row : slowest,
      undefined,
    );
}

/**
 * The configuration that was in force at `index`; `undefined` where it is forgotten, which it is below the newest one that was
 * committed. @public
 */
export function configurationAt(state: RaftState, index: LogIndex): Configuration | undefined {
  return state.configurations.findLast((configuration) => configuration.index <= index);
}

/** Why a snapshot cannot be installed now, or `undefined`. @public */
export function installationBlock(state: RaftState, place: Place): InstallationBlock | undefined {
  if (state.role === 'leader') return 'leader';
  if (place.index < state.log.baseIndex) return 'isBehindBase';
  if (place.term > state.term) return 'termUnseen';
  const known = termAt(state.log, place.index);
  const vouchedIndex = Math.max(
    state.commitIndex,
    Math.min(state.durableIndex, state.verifiedIndex),
  );
  return known !== place.term && place.index <= vouchedIndex ? 'conflict' : undefined;
}

/**
 * The log once a snapshot stands for it up to `place`: what is behind it is kept exactly if the durable log has the very entry
 * there. What storage is to make durable, and what `snapshotInstalled` is to bring. @public
 */
export function logBehindSnapshot(state: RaftState, place: Place): WholeLog {
  const { log } = state;
  const isKept = place.index <= state.durableIndex && termAt(log, place.index) === place.term;
  return {
    baseIndex: place.index,
    baseTerm: place.term,
    termRuns: isKept ? runsBehind(log, place.index) : [],
    lastIndex: isKept ? log.lastIndex : place.index,
    recordedCommitIndex: isKept
      ? (Math.max(state.commitIndex, place.index) as LogIndex)
      : place.index,
  };
}

function isProtected(state: RaftState, row: Progress): boolean {
  return (
    !row.inDoubt &&
    row.isMatchKnown &&
    row.state !== 'snapshot' &&
    state.now - row.heardTick <= silentTicksMax &&
    state.log.lastIndex - row.matchIndex <= lagEntriesMax
  );
}

function compact(state: RaftState, baseIndex: LogIndex): void {
  assert(baseIndex > state.log.baseIndex, 'a compaction moves the base forward');
  assert(baseIndex <= state.appliableIndex, 'only entries that may be applied are compacted');
  assert(baseIndex <= state.durableIndex, 'only durable entries are compacted');
  compactTerms(state.log, baseIndex);
}

function install(
  state: RaftState,
  context: StepContext,
  { log: whole, configuration }: Extract<Input, { kind: 'snapshotInstalled' }>,
): void {
  const place = { index: whole.baseIndex, term: whole.baseTerm };
  assert(
    installationBlock(state, place) === undefined,
    'a snapshot is installed where nothing blocks it',
  );
  assert(configuration.index <= place.index, 'a snapshot holds the configuration in force there');
  wake(state, context);
  if (state.role !== 'follower')
    becomeFollower(state, context, {
      term: state.term,
      leader: undefined,
      reason: 'a snapshot was installed',
    });
  const before = state.log;
  const log = logOfRuns(whole);
  checkKept(state, log);
  const isKept = termAt(before, place.index) === place.term;
  // Completions of appends whose entries went say nothing any more; those of entries that stay do.
  if (!isKept || log.lastIndex < before.lastIndex)
    state.truncationSequence = state.appendSequence + 1;
  state.log = log;
  state.durableIndex =
    log.lastIndex > before.lastIndex
      ? log.lastIndex
      : atLeast(place.index, Math.min(state.durableIndex, log.lastIndex));
  state.verifiedIndex = atLeast(place.index, Math.min(state.verifiedIndex, log.lastIndex));
  state.snapshotWanted = undefined;
  state.ackOwed = !state.inDoubt;
  takeCommit(state, context, { whole, configuration });
}

/** What the snapshot and the record of storage say is committed, and the configurations of what is left. */
function takeCommit(
  state: RaftState,
  context: StepContext,
  installed: { readonly whole: WholeLog; readonly configuration: Configuration },
): void {
  const { baseIndex, recordedCommitIndex, lastIndex } = installed.whole;
  const known = activeConfiguration(state);
  state.configurations = [
    installed.configuration,
    ...state.configurations.filter(
      ({ index, term }) =>
        index > baseIndex &&
        (termAt(state.log, index) === term || (state.isQuarantined && index > lastIndex)),
    ),
  ];
  forgetOldConfigurations(state);
  const active = activeConfiguration(state);
  const wasOpen = active.index > state.commitIndex;
  const commitIndex = atLeast(baseIndex, Math.min(recordedCommitIndex, lastIndex));
  state.verifiedIndex = atLeast(commitIndex, state.verifiedIndex);
  state.leaderCommit = atLeast(commitIndex, state.leaderCommit);
  advanceCommit(state, context, commitIndex);
  const isCommitted = active.index <= state.commitIndex;
  const isTold = wasOpen && isCommitted;
  if (isTold || (active.index === known.index && active.term === known.term)) return;
  context.effects.push({ kind: 'configurationChanged', configuration: active, isCommitted });
}

/**
 * What is kept is what was there. Durable entries behind the very entry that the snapshot ends with stay, since they may have been
 * acknowledged; those behind another one go, since they cannot be committed. Only a log whose damage hid entries gains some.
 */
function checkKept(state: RaftState, log: LogTerms): void {
  const { log: before, isQuarantined } = state;
  const known = termAt(before, log.baseIndex);
  if (known === log.baseTerm)
    assert(log.lastIndex >= state.durableIndex, 'durable entries behind a snapshot are kept');
  else
    assert(
      log.lastIndex === log.baseIndex || (isQuarantined && known === undefined),
      'nothing is kept behind a snapshot that ends with another entry',
    );
  assert(
    isQuarantined || log.lastIndex <= Math.max(before.lastIndex, log.baseIndex),
    'an installation brings no entries behind the snapshot',
  );
  for (const [run, first] of log.runFirst.entries()) {
    const knownTerm = termAt(before, first);
    assert(
      knownTerm === log.runTerm[run] || (isQuarantined && knownTerm === undefined),
      'what is kept behind a snapshot is what was there',
    );
  }
}

function atLeast(floor: number, value: number): LogIndex {
  return Math.max(floor, value) as LogIndex;
}
