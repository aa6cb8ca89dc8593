/** The calls of the admin service that change members and leadership; they go to the partition's leader. */
import { create } from '@bufbuild/protobuf';
import type { ServiceImpl } from '@connectrpc/connect';
import { ClustorError } from '../base/errors.ts';
import { nodeId, partitionId, type NodeId, type PartitionId } from '../base/ids.ts';
import type { Member as ConfiguredMember } from '../base/membership.ts';
import type { Survivability } from '../policy/survivability.ts';
import type { MembershipOutcome, VoterChange } from '../runtime/membership-desk.ts';
import { parseAddress } from '../runtime/node-address.ts';
import type { Partition } from '../runtime/partition.ts';
import {
  MemberSchema,
  MembershipResponseSchema,
  PlanVotersResponseSchema,
  SurvivabilitySchema,
  TransferLeadershipResponseSchema,
  type AdminService,
  type ChangeVotersRequest,
  type Member,
  type MembershipResponse,
} from './generated/clustor/admin/v1/admin_pb.ts';

/** Where the calls find a partition. */
export interface MembershipSubject {
  /** @throws ClustorError `CLUSTOR_UNKNOWN_PARTITION`. */
  partition(id: PartitionId): Partition;
}

type MembershipRoutes = Pick<
  ServiceImpl<typeof AdminService>,
  'addMember' | 'changeVoters' | 'planVoters' | 'rollBackMembership' | 'transferLeadership'
>;

/** The handlers of these calls. */
export function membershipRoutes(node: MembershipSubject): MembershipRoutes {
  const partitionOf = (text: string): Partition => node.partition(partitionId(text));
  return {
    addMember: async (request) => {
      const { role, addresses, deadlineMs } = request;
      if (role !== 'learner' && role !== 'observer')
        throw new ClustorError(
          'CLUSTOR_INVALID_ARGUMENT',
          `a new member is a learner or an observer, got "${role}"`,
        );
      for (const address of addresses) parseAddress(address);
      const member = { nodeId: nodeOf(request.nodeId), addresses, role } as const;
      return response(
        await partitionOf(request.partitionId).addMember(member, deadline(deadlineMs)),
      );
    },
    changeVoters: async (request) =>
      response(
        await partitionOf(request.partitionId).changeVoters(
          changeOf(request),
          deadline(request.deadlineMs),
        ),
      ),
    planVoters: (request) => {
      const plan = partitionOf(request.partitionId).planVoters(changeOf(request));
      return create(PlanVotersResponseSchema, {
        before: plan.before.map(memberMessage),
        after: plan.after.map(memberMessage),
        phase: plan.phase,
        survivabilityBefore: survivabilityMessage(plan.survivabilityBefore),
        survivabilityAfter: survivabilityMessage(plan.survivabilityAfter),
        verdict: plan.verdict.kind,
        verdictReason: 'reason' in plan.verdict ? plan.verdict.reason : '',
        refusalCode: plan.refusal?.code ?? '',
        refusal: plan.refusal?.message ?? '',
      });
    },
    rollBackMembership: async ({ partitionId: id, reason, deadlineMs }) =>
      response(
        await partitionOf(id).rollBackMembership(
          reason === '' ? 'an operator asked for it' : reason.slice(0, reasonLengthMax),
          deadline(deadlineMs),
        ),
      ),
    transferLeadership: async ({ partitionId: id, toNodeId, deadlineMs }) => {
      const leader = await partitionOf(id).transferLeadership(
        nodeOf(toNodeId),
        deadline(deadlineMs),
      );
      return create(TransferLeadershipResponseSchema, { leaderNodeId: BigInt(leader) });
    },
  };
}

/** What a rollback's reason may have, so that its entry stays small. */
const reasonLengthMax = 256;

function changeOf(request: ChangeVotersRequest): VoterChange {
  const { promote, remove, domains, policy, overrideRef } = request;
  if (policy !== '' && policy !== 'strict' && policy !== 'advisory')
    throw new ClustorError(
      'CLUSTOR_INVALID_ARGUMENT',
      `the policy is strict or advisory, got "${policy}"`,
    );
  return {
    promote: promote.map(nodeOf),
    remove: remove.map(nodeOf),
    domains: new Map(
      Object.entries(domains).map(([node, domain]) => [nodeId(Number(node)), domain]),
    ),
    policy: policy === 'advisory' ? 'advisory' : 'strict',
    overrideRef,
  };
}

function nodeOf(value: bigint): NodeId {
  return nodeId(Number(value));
}

function deadline(deadlineMs: number): { readonly deadlineMs?: number } {
  return deadlineMs === 0 ? {} : { deadlineMs };
}

function response(outcome: MembershipOutcome): MembershipResponse {
  return create(MembershipResponseSchema, {
    rolledBack: outcome.isRolledBack,
    index: BigInt(outcome.index),
    members: outcome.members.map(memberMessage),
  });
}

function memberMessage(member: ConfiguredMember): Member {
  const { replicaId, incarnation, role, addresses } = member;
  return create(MemberSchema, {
    replicaId: BigInt(replicaId),
    nodeId: BigInt(member.nodeId),
    incarnation,
    role,
    addresses: [...addresses],
  });
}

function survivabilityMessage(
  value: Survivability,
): ReturnType<typeof create<typeof SurvivabilitySchema>> {
  return create(SurvivabilitySchema, { ...value });
}
