/** The plan file of `clustor init`: the identities of all replicas, made once and taken by every member. */
import { ClustorError } from '../base/errors.ts';
import { incarnation, nodeId, partitionId, replicaId } from '../base/ids.ts';
import type { Member } from '../base/membership.ts';
import type { PartitionPlan, PlannedVoter } from '../index.ts';
import { parseAddress } from '../runtime/node-address.ts';

/** Voters such as `1=host:port,2=host:port`. @throws ClustorError `CLUSTOR_INVALID_ARGUMENT`. */
export function votersOf(list: string): readonly PlannedVoter[] {
  const voters = list.split(',').map((text) => {
    const match = /^(\d+)=(.+:\d+)$/.exec(text);
    if (match?.[1] === undefined || match[2] === undefined)
      throw invalid(`a voter looks like 1=host:port, got "${text}"`);
    return { nodeId: memberNodeId(Number(match[1])), address: memberAddress(match[2]) };
  });
  demandOnce(
    voters.map((voter) => voter.nodeId),
    'node',
  );
  demandOnce(
    voters.map((voter) => voter.address),
    'address',
  );
  return voters;
}

/** The plans in the text of a plan file. @throws ClustorError `CLUSTOR_INVALID_ARGUMENT` with what is wrong. */
export function plansOf(text: string): readonly PartitionPlan[] {
  const parsed: unknown = JSON.parse(text);
  const plans = listOf(parsed, 'a plan is a list of partitions').map(planOf);
  demandOnce(
    plans.map((plan) => plan.partitionId),
    'partition',
  );
  return plans;
}

function planOf(value: unknown): PartitionPlan {
  const { partitionId: id, members: given } = fieldsOf(value);
  if (typeof id !== 'string') throw invalid('a partition of the plan lacks its "partitionId"');
  const members = listOf(given, `partition ${id} has a list of "members"`).map(memberOf);
  demandOnce(
    members.map((member) => member.nodeId),
    'node',
  );
  return { partitionId: partitionId(id), members };
}

function memberOf(value: unknown): Member {
  const { nodeId: node, replicaId: replica, incarnation: life, role, addresses } = fieldsOf(value);
  if (typeof node !== 'number' || typeof replica !== 'number' || typeof life !== 'string')
    throw invalid('a member has "nodeId", "replicaId" and "incarnation"');
  if (role !== 'voter') throw invalid('a member of a plan has the "role" voter');
  return {
    nodeId: memberNodeId(node),
    replicaId: replicaId(replica),
    incarnation: incarnation(life),
    role,
    addresses: listOf(addresses, 'a member has a list of "addresses"').map(memberAddress),
  };
}

function memberNodeId(value: number): ReturnType<typeof nodeId> {
  if (value === 0) throw invalid('node ids begin at 1');
  return nodeId(value);
}

function memberAddress(value: unknown): string {
  if (typeof value !== 'string' || /\s/.test(value) || parseAddress(value).port === 0)
    throw invalid(`others reach a member at host:port, not at ${JSON.stringify(value)}`);
  return value;
}

function demandOnce(values: readonly (string | number)[], what: string): void {
  const twice = values.find((value, at) => values.indexOf(value) !== at);
  if (twice !== undefined) throw invalid(`${what} ${twice} is named twice`);
}

function listOf(value: unknown, problem: string): readonly unknown[] {
  if (!Array.isArray(value) || value.length === 0) throw invalid(problem);
  return value;
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function invalid(problem: string): ClustorError {
  return new ClustorError('CLUSTOR_INVALID_ARGUMENT', problem);
}
