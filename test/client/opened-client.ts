/** A client on a scripted cluster, and outcomes in the form that tests compare. */
import { ClustorError } from '../../src/base/errors.ts';
import { openClientCore, type ClustorClient } from '../../src/client/client-core.ts';
import type { ClientLimits } from '../../src/client/client-options.ts';
import { silentObserver } from '../../src/ports/observer.ts';
import type { AppendReceipt } from '../../src/runtime/local-append.ts';
import {
  clusterId,
  CountingEntropy,
  partitionId,
  type ScriptedCluster,
} from './scripted-cluster.ts';

export type Settled = AppendReceipt | ClustorError;

/** Opens a client that knows the first nodes of the cluster. */
export async function openClient(
  cluster: ScriptedCluster,
  limits: Partial<ClientLimits> = {},
  addressCount = 3,
): Promise<ClustorClient> {
  const addresses = cluster.nodes.slice(0, addressCount).map((node) => node.address);
  const opening = openClientCore({
    transport: cluster,
    clock: cluster.clock,
    entropy: new CountingEntropy(),
    observer: silentObserver,
    clusterId,
    addresses,
    limits,
  });
  opening.catch(() => undefined);
  cluster.clock.advance(50);
  return opening;
}

export function bytes(...values: number[]): Uint8Array {
  return Uint8Array.from(values);
}

/** Appends and returns where the outcomes will be. */
export function appendAll(
  client: ClustorClient,
  values: readonly number[],
  deadlineMs?: number,
): Settled[] {
  const settled: Settled[] = [];
  const options = deadlineMs === undefined ? undefined : { deadlineMs };
  for (const value of values)
    client.appendWith(partitionId, bytes(value), (outcome) => settled.push(outcome), options);
  return settled;
}

export function errorOf(outcome: Settled | undefined): ClustorError {
  if (outcome instanceof ClustorError) return outcome;
  throw new Error('an error was expected');
}

/** The index of each receipt, the code of each error. */
export function indexes(settled: readonly Settled[]): readonly (number | string)[] {
  return settled.map((outcome) => (outcome instanceof ClustorError ? outcome.code : outcome.index));
}
