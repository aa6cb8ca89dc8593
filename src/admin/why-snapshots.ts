/** Why no snapshot is taken, why a machine waits for one, and what keeps a log from beginning later (specification §7, §8.1). */
import { bytesText } from '../base/bytes.ts';
import { slowestProtected, tickMs } from '../raft/index.ts';
import type { SnapshotStatus } from '../runtime/snapshot-desk.ts';
import { none, whereabouts, type Clause, type WhyInput } from './why-clause.ts';
import { held, inDoubt } from './why-quarantine.ts';

/** Explains the snapshots of a replica. */
export function snapshotBlocked(input: WhyInput): Clause {
  const { snapshots } = input.partition;
  if (snapshots === undefined)
    return {
      clause: 'NoCryptography',
      explanation:
        'this node was opened without cryptography, which snapshots are hashed with; it takes none',
      advice: 'Open the node with `cryptography`.',
    };
  return (
    snapshotMissing(input) ??
    snapshotWanted(input, snapshots) ??
    inDoubt(input) ??
    held(input) ??
    attemptFailed(snapshots) ??
    memberBehind(input, snapshots) ??
    snapshotLeased(input, snapshots) ?? { ...none, explanation: restText(input, snapshots) }
  );
}

/** The log begins behind a snapshot, and nobody here can read one: the machine is empty. */
export function snapshotMissing({ partition, state }: WhyInput): Clause | undefined {
  const { snapshots, baseIndex } = partition;
  if (snapshots?.isMissing !== true) return undefined;
  return {
    clause: 'SnapshotMissing',
    explanation: `the log begins behind entry ${baseIndex}, and no snapshot of that can be read here, so the state machine is empty; this replica votes and acknowledges on; ${pullText(snapshots)}`,
    advice:
      state.leader === undefined
        ? 'Wait: it is fetched from another member. If it lasts, start the nodes that are down.'
        : 'A leader takes no snapshot in: start another voter, which will lead instead.',
  };
}

/** What this log goes on with is entries that its leader no longer has. */
function snapshotWanted({ state }: WhyInput, snapshots: SnapshotStatus): Clause | undefined {
  const { snapshotWanted: wantedIndex } = state;
  if (wantedIndex === undefined && !snapshots.installation.isPulling) return undefined;
  const need =
    wantedIndex === undefined
      ? 'this replica needs a snapshot of another member'
      : `the leader no longer has the entries that this log goes on with, and a snapshot up to entry ${wantedIndex} is needed`;
  return {
    clause: 'SnapshotWanted',
    explanation: `${need}; ${pullText(snapshots)}`,
    advice:
      'Wait: it is fetched from another member. If it lasts, look at what the last one was asked in vain for.',
  };
}

function attemptFailed({ lastFailure, isTaking }: SnapshotStatus): Clause | undefined {
  if (lastFailure === '' || isTaking) return undefined;
  return {
    clause: 'AttemptFailed',
    explanation: `the last attempt to take a snapshot failed: ${lastFailure}`,
    advice: 'Mend what the reason names; `clustor snapshot take` tries again at once.',
  };
}

/** Entries that a member lacks stay while it is heard and is near. */
function memberBehind(
  { state, partition }: WhyInput,
  { goodIndex }: SnapshotStatus,
): Clause | undefined {
  const slowest = slowestProtected(state);
  if (slowest === undefined || slowest.matchIndex >= goodIndex) return undefined;
  if (goodIndex <= partition.baseIndex) return undefined;
  const { member, matchIndex, heardTick } = slowest;
  return {
    clause: 'MemberBehind',
    explanation: `the log begins behind entry ${partition.baseIndex} although a snapshot reaches to ${goodIndex}: the replica on node ${whereabouts(member)} has entries up to ${matchIndex}, and what it lacks is kept for it`,
    advice:
      'Wait until it has caught up. For a node that is not heard for 10 s, or lacks more than 65,536 entries, nothing is kept.',
    sinceMs: (state.now - heardTick) * tickMs,
  };
}

function snapshotLeased(
  { partition }: WhyInput,
  { goodIndex, leasedIndex }: SnapshotStatus,
): Clause | undefined {
  if (leasedIndex === undefined || leasedIndex >= goodIndex) return undefined;
  if (goodIndex <= partition.baseIndex) return undefined;
  return {
    clause: 'SnapshotLeased',
    explanation: `the log begins behind entry ${partition.baseIndex} although a snapshot reaches to ${goodIndex}: a member fetches the one up to ${leasedIndex}, and will need the entries behind it`,
    advice: 'Wait: ten seconds behind its last question nothing is kept for it.',
  };
}

/** What goes on where nothing is wrong. */
function restText({ partition }: WhyInput, snapshots: SnapshotStatus): string {
  const { isTaking, takingBytes, logBytes, logBytesMax } = snapshots;
  if (isTaking) return `a snapshot is being taken, ${bytesText(takingBytes)} are written`;
  const newest = snapshots.snapshots.at(-1);
  const has =
    newest === undefined
      ? 'no snapshot was taken yet'
      : `the newest snapshot ends with entry ${newest.index}`;
  return `nothing stands in the way: the log begins behind entry ${partition.baseIndex}, ${has}; ${bytesText(logBytes)} were appended since, and another one comes with ${bytesText(logBytesMax)}, or by its age`;
}

/** How far the fetching of a snapshot is. */
function pullText({ installation }: SnapshotStatus): string {
  const { fromNodeId, partsDone, parts, attempts, lastFailure } = installation;
  const asked =
    fromNodeId === undefined
      ? 'nobody is asked right now'
      : `node ${fromNodeId} is being asked${parts === 0 ? '' : `, ${partsDone} of ${parts} parts are here`}`;
  const vain = attempts === 0 ? '' : `, ${attempts} rounds were in vain`;
  return `${asked}${vain}${lastFailure === '' ? '' : `: ${lastFailure}`}`;
}
