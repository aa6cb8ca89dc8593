/** Why a replica neither votes nor acknowledges, or applies nothing. */
import { textOf, type IntegrityStatus } from '../runtime/quarantine-desk.ts';
import type { Clause, WhyInput } from './why-clause.ts';

/** Nothing is applied or read here, while the log goes on. */
export function held({ partition }: WhyInput): Clause | undefined {
  const hold = partition.quarantines.find((row) => row.reason !== 'Integrity');
  if (hold === undefined) return undefined;
  const { reason, detail, ticket, sinceMs } = hold;
  const goesOn = 'it votes and acknowledges on, applies nothing and serves no reads';
  if (reason === 'Administrative')
    return {
      clause: 'Administrative',
      explanation: `an operator wanted this replica in quarantine (${ticket}): ${detail}; ${goesOn}`,
      advice: 'When the reason is gone, end it with `clustor quarantine clear --ticket`.',
      sinceMs,
    };
  return {
    clause: 'ApplyFault',
    explanation: `the state machine stopped applying: ${detail}; ${goesOn}`,
    advice: hold.awaitsOperator
      ? 'Mend the state machine, start the node with it, then end the quarantine with `clustor quarantine clear --ticket`.'
      : 'Mend the state machine, or take a version that knows the entry, and restart the node; if the quarantine is still there, end it with `clustor quarantine clear --ticket`.',
    sinceMs,
  };
}

/** Who may have forgotten its word is in doubt for good; whose entries cannot be read comes back by itself. */
export function inDoubt({ state, partition }: WhyInput): Clause | undefined {
  if (!state.inDoubt) return undefined;
  const quarantine = partition.quarantines.find((row) => row.reason === 'Integrity');
  if (quarantine !== undefined && !state.hasLostEvidence) return integrity(quarantine);
  return {
    clause: 'InDoubt',
    explanation:
      'this replica cannot prove what it once acknowledged, so it neither votes nor acknowledges (KER-9)',
    advice: 'Keep its files, look at its boot_record.json, and bring it back as a new incarnation.',
  };
}

function integrity(quarantine: IntegrityStatus): Clause {
  const { missing, missingCount, repairedCount, attempts, askedNodeId } = quarantine;
  const asked =
    askedNodeId === undefined ? 'nobody is asked right now' : `node ${askedNodeId} is being asked`;
  const progress = quarantine.awaitsOperator
    ? `all ${repairedCount} damaged entries are repaired; it was the third quarantine within a day`
    : `entries ${textOf(missing)} (${missingCount}) cannot be read, ${repairedCount} are repaired; ${asked}, ${attempts} rounds were in vain`;
  return {
    clause: 'Integrity',
    explanation: `${progress}; until then this replica neither votes nor acknowledges, and serves no reads`,
    advice: quarantine.awaitsOperator
      ? 'Look at the disk, then end it with `clustor quarantine clear --ticket`.'
      : 'Wait: it is repaired from the other replicas, and ends by itself. If it lasts, start the nodes that are down.',
    sinceMs: quarantine.sinceMs,
  };
}
