/** Wrong ways with quarantines in which the log goes on. */
import type { Mutant } from './mutant.ts';

const pipelineTests = 'test/runtime/apply-pipeline.test.ts';
const policyTests = 'test/policy/quarantine.test.ts';
const coreTests = 'test/raft/held.test.ts';
const scenarioTests = 'test/scenarios/quarantine.test.ts';

/** Mutants of `ApplyFault` and `Administrative`. */
export const quarantineMutants: readonly Mutant[] = [
  {
    name: 'asked-after-the-last-fatal',
    breaks: 'APP-3: a machine that was fatal three times is asked for what is behind',
    file: 'src/runtime/apply-pipeline.ts',
    edits: [
      {
        find: 'pending.then(() => this.#applyViews(',
        replace: 'pending.then(() => this.#flush()).then(() => this.#applyViews(',
      },
    ],
    expected: 'tests',
    tests: [pipelineTests],
  },
  {
    name: 'taken-in-twice',
    breaks: 'APP-1: entries that were taken in when applying stopped are taken in again',
    file: 'src/runtime/apply-pipeline.ts',
    edits: [{ find: 'if (this.#batch.length > 0) return this.#flush();', replace: '' }],
    expected: 'tests',
    tests: [pipelineTests],
  },
  {
    name: 'fatals-never-forgotten',
    breaks: 'APP-3: fatal outcomes of long ago count',
    file: 'src/policy/quarantine.ts',
    edits: [{ find: 'nowMs - atMs < applyFatalWindowMs', replace: 'nowMs - atMs >= 0' }],
    expected: 'tests',
    tests: [policyTests],
  },
  {
    name: 'asked-after-it-threw',
    breaks: 'QUA-9: the process whose machine threw applies on',
    file: 'src/runtime/apply-pipeline.ts',
    edits: [
      {
        find: '#threw(error: unknown): void {\n    this.#isMachineKnown = false;',
        replace: '#threw(error: unknown): void {',
      },
    ],
    expected: 'tests',
    tests: [scenarioTests],
  },
  {
    name: 'fault-forgotten-by-a-restart',
    breaks: 'QUA-1: an ApplyFault is not recorded',
    file: 'src/runtime/hold-desk.ts',
    edits: [{ find: 'if (isOfMachine) void', replace: 'if (isOfMachine && row.index < 0) void' }],
    expected: 'tests',
    tests: [scenarioTests],
  },
  {
    name: 'hold-lost-by-recovery',
    breaks: 'QUA-1: a start does not find the quarantine in its ledger',
    file: 'src/storage/recovered-log.ts',
    edits: [
      {
        find: '.filter(({ incarnation }) => incarnation === found.incarnation)',
        replace: '.filter(({ incarnation }) => incarnation !== found.incarnation)',
      },
    ],
    expected: 'tests',
    tests: [scenarioTests],
  },
  {
    name: 'read-in-quarantine',
    breaks:
      'QUA-2: a read that began before the quarantine is answered from the machine that stands still',
    file: 'src/policy/quarantine.ts',
    edits: [
      {
        find: "  mayRead: false,\n  mayRepairOthers: true,\n  endedBy: 'operator'",
        replace: "  mayRead: true,\n  mayRepairOthers: true,\n  endedBy: 'operator'",
      },
    ],
    expected: 'tests',
    tests: [policyTests, scenarioTests],
  },
  {
    name: 'held-campaigns-first',
    breaks: 'KER-9: a replica that applies nothing campaigns as soon as a healthy one',
    file: 'src/raft/role.ts',
    edits: [{ find: 'const heldTimeoutsMax = 2;', replace: 'const heldTimeoutsMax = 0;' }],
    expected: 'tests',
    tests: [coreTests],
  },
  {
    name: 'held-takes-over',
    breaks: 'QUA-11: a replica that applies nothing takes the call to lead',
    file: 'src/raft/election.ts',
    edits: [{ find: '  if (state.isHeld) return;\n', replace: '' }],
    expected: 'tests',
    tests: [coreTests],
  },
  {
    name: 'held-never-campaigns',
    breaks: 'KER-9: where every replica is held nobody is elected',
    file: 'src/raft/election.ts',
    edits: [{ find: 'if (isYielding) state.heldTimeouts++;', replace: '' }],
    expected: 'tests',
    tests: [coreTests, scenarioTests],
  },
  {
    name: 'held-leader-stays',
    breaks: 'QUA-11: a leader that serves nobody hands over to nobody',
    file: 'src/policy/step-down.ts',
    edits: [
      {
        find: 'clockAlarm(input) ?? quarantined(input)',
        replace: 'clockAlarm(input) ?? (input.peers.length < 0 ? quarantined(input) : undefined)',
      },
    ],
    expected: 'tests',
    tests: ['test/policy/step-down.test.ts'],
  },
];
