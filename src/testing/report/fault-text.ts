/** What a fault is called in a picture, how long it lasts, and whom it meets. */
import { unreachable } from '../../base/assert.ts';
import type { NodeId } from '../../base/ids.ts';
import type { FaultAction } from '../fault-plan.ts';
import type { SimVersion } from '../sim-versions.ts';

/** A fault in words. */
export interface FaultText {
  readonly text: string;
  /** 0 for what has no length of its own; a crash lasts until the machine is started. */
  readonly forMs: number;
  readonly nodeIds: readonly NodeId[];
}

const versionTexts: Readonly<Record<SimVersion, string>> = {
  own: 'the usual version',
  older: 'an older version',
  newer: 'a newer version',
  next: 'a version that the others do not understand',
};

/** Describes a fault that happened. */
export function describeFault(action: FaultAction): FaultText {
  switch (action.kind) {
    case 'crash':
      return one(
        action,
        action.crashKind === 'powerLoss' ? 'power loss' : 'process killed',
        action.downMs,
      );
    case 'killPoint':
      return one(action, `power loss after step ${action.step} of a write`, action.downMs);
    case 'pause':
      return one(action, 'process stopped', action.forMs);
    case 'partition':
      return {
        text: `${action.isOneWay ? 'nothing passes from' : 'cut off:'} ${namesOf(action.side)}${action.isOneWay ? ' to the others' : ''}`,
        forMs: action.forMs,
        nodeIds: action.side,
      };
    case 'slowLink':
      return link(action, `${action.factor} times slower`, action.forMs);
    case 'lossyLink':
      return link(action, `${Math.round(action.lossRate * 100)} % lost`, action.forMs);
    case 'connectionReset':
      return link(action, 'connections reset', 0);
    case 'failedSync':
      return one(action, 'the next sync fails', 0);
    case 'failedWrite':
      return one(action, `the next write fails, ${action.systemCode}`, 0);
    case 'readError':
      return one(action, 'the next read fails', 0);
    case 'slowDisk':
      return one(action, `disk ${action.factor} times slower`, action.forMs);
    case 'stalledDisk':
      return one(action, 'disk stands still', action.forMs);
    case 'fullDisk':
      return one(action, 'disk full', action.forMs);
    case 'clockDrift':
      return one(action, `clock runs at ${action.rate.toFixed(3)} of its rate`, 0);
    case 'wallJump':
      return one(action, `wall clock jumps by ${action.deltaMs} ms`, 0);
    case 'bitRot':
      return one(action, 'one bit at rest flips', 0);
    case 'lostWrite':
      return one(action, `a write of the ${fileOf(action)} never reaches the disk`, 0);
    case 'misdirectedWrite':
      return one(action, `a write of the ${fileOf(action)} lands elsewhere in it`, 0);
    case 'diskSwap':
      return one(action, `comes back on a disk that is ${action.ageMs} ms old`, action.downMs);
    case 'restartWithVersion':
      return one(action, `starts anew as ${versionTexts[action.version]}`, action.downMs);
    case 'memberChange':
      return { text: 'an operator changes members', forMs: 0, nodeIds: [] };
    case 'leaderTransfer':
      return { text: 'an operator moves leadership', forMs: 0, nodeIds: [] };
    case 'durabilityChange':
      return { text: 'an operator changes how batches go to the disk', forMs: 0, nodeIds: [] };
    case 'scrub':
      return { text: 'an operator has a disk read back', forMs: 0, nodeIds: [] };
    case 'snapshot':
      return { text: 'an operator has a snapshot taken', forMs: 0, nodeIds: [] };
    default:
      return unreachable(action);
  }
}

function fileOf({ isOfJournal }: { readonly isOfJournal: boolean }): string {
  return isOfJournal ? 'journal' : 'ledger';
}

function one({ nodeId }: { readonly nodeId: NodeId }, text: string, forMs: number): FaultText {
  return { text: `${namesOf([nodeId])}: ${text}`, forMs, nodeIds: [nodeId] };
}

function link(
  { from, to }: { readonly from: NodeId; readonly to: NodeId },
  text: string,
  forMs: number,
): FaultText {
  return { text: `node ${from} to node ${to}: ${text}`, forMs, nodeIds: [from, to] };
}

function namesOf(nodeIds: readonly NodeId[]): string {
  return nodeIds.length === 1 ? `node ${nodeIds[0] ?? ''}` : `nodes ${nodeIds.join(', ')}`;
}
