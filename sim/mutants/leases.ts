/** Wrong leases: who answers alone too long, and who votes though it promised not to. */
import type { Mutant } from './mutant.ts';

const lease = 'src/raft/lease.ts';
const leaseTests = ['test/raft/lease.test.ts'];
const promiseTests = ['test/raft/vote-promise.test.ts'];
const scenarioTests = ['test/scenarios/leases.test.ts'];

/** Mutants of leases. */
export const leaseMutants: readonly Mutant[] = [
  {
    name: 'lease-from-the-echo',
    breaks: 'RDX-6: a lease runs from the time of the echo and not from that of sending',
    file: lease,
    edits: [
      {
        find: 'progress.leaseTick = rounds.tick;',
        replace: 'progress.leaseTick = progress.heardTick;',
      },
    ],
    expected: 'tests',
    tests: leaseTests,
  },
  {
    name: 'lease-too-long',
    breaks: 'RDX-6: a lease lasts as long as the slowest election',
    file: lease,
    edits: [
      {
        find: 'return clockMs < leaseEndMs(state, leader);',
        replace: 'return clockMs < leaseEndMs(state, leader) + 600;',
      },
    ],
    expected: 'tests',
    tests: leaseTests,
  },
  {
    name: 'unflagged-rounds-counted',
    breaks: 'RDX-6: echoes count for a lease, and nobody was told that they do',
    file: 'src/raft/read-index.ts',
    edits: [{ find: '      lease,\n', replace: '      lease: lease && leader.round < 0,\n' }],
    expected: 'tests',
    tests: leaseTests,
  },
  {
    name: 'alarmed-clock-counted',
    breaks: 'RDX-8: the echo of a replica whose clocks disagree counts for a lease',
    file: lease,
    edits: [{ find: 'row.inDoubt || row.clockAlarm ? -1', replace: 'row.inDoubt ? -1' }],
    expected: 'tests',
    tests: leaseTests,
  },
  {
    name: 'lease-by-old-ticks',
    breaks: 'RDX-6: whether the lease holds is asked of ticks that stood still with the process',
    file: 'src/raft/read-index.ts',
    edits: [
      {
        find: '!holdsLease(state, context.clockMs)',
        replace: '!holdsLease(state, context.now * 10)',
      },
    ],
    expected: 'tests',
    tests: leaseTests,
  },
  {
    name: 'lease-not-asked-again',
    breaks: 'RDX-6: a local read is answered by a lease that ran out while it waited for apply',
    file: 'src/runtime/partition.ts',
    edits: [
      {
        find: 'granted.byLease && !replica.holdsLease()',
        replace: 'granted.byLease && !replica.isMember',
      },
    ],
    expected: 'tests',
    tests: scenarioTests,
  },
  {
    name: 'remote-lease-not-asked-again',
    breaks: 'RDX-6: a remote read is answered by a lease that ran out while it waited for apply',
    file: 'src/runtime/client-requests.ts',
    edits: [{ find: '!byLease || replica.holdsLease()', replace: '!byLease || replica.isMember' }],
    expected: 'tests',
    tests: scenarioTests,
  },
  {
    name: 'lease-after-timeout-now',
    breaks: 'RDX-6: a leader that asked another to campaign goes on to hold a lease',
    file: 'src/raft/transfer.ts',
    edits: [{ find: '  leader.lease.isForfeited = true;\n', replace: '' }],
    expected: 'tests',
    tests: leaseTests,
  },
  {
    name: 'lease-in-a-joint-phase',
    breaks: '§3.1: a lease goes on while two sets of voters are counted',
    file: lease,
    edits: [
      {
        find: "if (isJoint(active)) return 'JointPhase';",
        replace: "if (isJoint(active) && state.inDoubt) return 'JointPhase';",
      },
    ],
    expected: 'tests',
    tests: leaseTests,
  },
  {
    name: 'lease-into-sleep',
    breaks: '§2.5: a leader asks for rest and keeps its lease',
    file: lease,
    edits: [
      {
        find: "return leader.restRound === undefined ? undefined : 'Idle';",
        replace: "return leader.restRound !== -1 ? undefined : 'Idle';",
      },
    ],
    expected: 'tests',
    tests: leaseTests,
  },
  {
    name: 'restarted-voter-votes',
    breaks: 'RDX-6: a process that has just started votes at once, whatever it promised before',
    file: 'src/raft/state.ts',
    edits: [
      {
        find: 'start.now * tickMs + electionTimeoutMsMin(start.settings)',
        replace: 'start.now * tickMs + 0 * electionTimeoutMsMin(start.settings)',
      },
    ],
    expected: 'tests',
    tests: [...promiseTests, ...scenarioTests],
  },
  {
    name: 'hint-breaks-the-promise',
    breaks: 'RDX-6: a voter that echoed a flagged round believes the closed-and-refused hint',
    file: 'src/raft/election.ts',
    edits: [
      {
        find: 'state.isHibernating || isVoteWithheld(state)) return true;',
        replace: 'state.isHibernating) return true;',
      },
    ],
    expected: 'tests',
    tests: promiseTests,
  },
  {
    name: 'promise-broken-in-the-own-term',
    breaks:
      'RDX-6: a voter that learned of a newer term otherwise votes in it in spite of its promise',
    file: 'src/raft/election.ts',
    edits: [{ find: '    !isWithheld &&\n', replace: '    (isWithheld || isFree) &&\n' }],
    expected: 'tests',
    tests: promiseTests,
  },
  {
    name: 'promise-by-old-ticks',
    breaks: 'RDX-6: a promise is counted from ticks that stood still with the process',
    file: 'src/raft/vote-promise.ts',
    edits: [
      {
        find: 'context.clockMs + electionTimeoutMsMin(state.settings)',
        replace: 'context.now * tickMs + electionTimeoutMsMin(state.settings)',
      },
    ],
    expected: 'tests',
    tests: promiseTests,
  },
  {
    name: 'hint-starts-a-campaign',
    breaks: 'RDX-6: whoever stands first in line campaigns in spite of its own promise',
    file: 'src/raft/election.ts',
    edits: [
      {
        find: 'const fromTick = Math.max(state.now, withheldUntilTick(state));',
        replace: 'const fromTick = state.now;',
      },
    ],
    expected: 'tests',
    tests: promiseTests,
  },
];
