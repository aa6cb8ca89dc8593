/**
 * The admin service of a node, first version: it looks and explains. Every call has a principal, taken from the client
 * certificate by whoever accepted the connection, and passes `policy/access` in one interceptor before its handler runs.
 */
import {
  Code,
  ConnectError,
  createContextKey,
  type ConnectRouter,
  type ContextKey,
  type Interceptor,
} from '@connectrpc/connect';
import { create } from '@bufbuild/protobuf';
import { present } from '../base/assert.ts';
import { ClustorError, isClustorError, messageOf } from '../base/errors.ts';
import { partitionId, type PartitionId } from '../base/ids.ts';
import { judgeAccess, type AccessAction } from '../policy/access.ts';
import type { Observer } from '../ports/observer.ts';
import type { PeerIdentity } from '../ports/transport.ts';
import type { RaftState } from '../raft/index.ts';
import type { NodeStatus, PartitionStatus } from '../runtime/status.ts';
import {
  AdminService,
  GetPartitionResponseSchema,
  ListPartitionsResponseSchema,
  WhyResponseSchema,
} from './generated/clustor/admin/v1/admin_pb.ts';
import { evidenceRoutes, type EvidenceSource } from './evidence-routes.ts';
import { durabilityRoutes } from './durability-routes.ts';
import { keyRoutes, type KeySubject } from './key-routes.ts';
import { membershipRoutes, type MembershipSubject } from './membership-routes.ts';
import { quarantineRoutes } from './quarantine-routes.ts';
import { scrubRoutes, type ScrubSubject } from './scrub-routes.ts';
import { snapshotRoutes } from './snapshot-routes.ts';
import { partitionMessage, statusMessage } from './status-message.ts';
import { explain, type WhyKind } from './why.ts';

/** Who calls: set by the host for every request. */
export const principalKey: ContextKey<PeerIdentity | undefined> = createContextKey<
  PeerIdentity | undefined
>(undefined, { description: 'principal' });

/** What the service looks at: a `ClustorNode`. */
export interface AdminSubject extends MembershipSubject, KeySubject, ScrubSubject {
  status(): NodeStatus;
  replicas(): readonly { readonly partitionId: PartitionId; readonly state: RaftState }[];
}

/** Options of {@link createAdminRoutes}. */
export interface AdminOptions {
  readonly node: AdminSubject;
  readonly evidence: EvidenceSource;
  readonly observer: Observer;
}

/** What each method is, for the judgement. */
const actions: Readonly<Record<string, AccessAction>> = {
  GetStatus: 'adminRead',
  ListPartitions: 'adminRead',
  GetPartition: 'adminRead',
  Why: 'adminRead',
  PlanVoters: 'adminRead',
  AddMember: 'adminWrite',
  ChangeVoters: 'adminWrite',
  RollBackMembership: 'adminWrite',
  TransferLeadership: 'adminWrite',
  GetDurability: 'adminRead',
  SetDurability: 'adminWrite',
  GetKeys: 'adminRead',
  RotateKeys: 'adminWrite',
  SetQuarantine: 'adminWrite',
  // It changes nothing, but makes the node read its whole disk.
  GatherEvidence: 'adminWrite',
  GetScrub: 'adminRead',
  StartScrub: 'adminWrite',
  PauseScrub: 'adminWrite',
  ResumeScrub: 'adminWrite',
  ClearQuarantine: 'adminWrite',
  TakeSnapshot: 'adminWrite',
};

const kinds: readonly WhyKind[] = [
  'notLeader',
  'readBlocked',
  'writeBlocked',
  'notReady',
  'membershipBlocked',
  'diskBlocked',
  'quarantined',
  'snapshotBlocked',
];

/** The routes of a node's admin service. */
export function createAdminRoutes({
  node,
  evidence,
  observer,
}: AdminOptions): (router: ConnectRouter) => void {
  return (router) => {
    router.service(
      AdminService,
      {
        getStatus: () => statusMessage(node.status()),
        listPartitions: () =>
          create(ListPartitionsResponseSchema, {
            partitions: node.status().partitions.map(partitionMessage),
          }),
        getPartition: (request) =>
          create(GetPartitionResponseSchema, {
            partition: partitionMessage(partitionOf(node.status(), request.partitionId)),
          }),
        why: (request) => {
          const kind = kinds.find((known) => known === request.kind);
          if (kind === undefined)
            throw new ClustorError(
              'CLUSTOR_INVALID_ARGUMENT',
              `name what to explain: ${kinds.join(', ')}`,
            );
          const status = node.status();
          const partition = partitionOf(status, request.partitionId);
          const replica = present(
            node.replicas().find((row) => row.partitionId === partition.partitionId),
            'a partition in the status has its replica',
          );
          const answer = explain(kind, {
            partition,
            state: replica.state,
            linksUp: status.linksUp,
            disk: status.disk,
          });
          return create(WhyResponseSchema, {
            ...answer,
            sinceMs: BigInt(answer.sinceMs),
            facts: { ...answer.facts },
          });
        },
        ...membershipRoutes(node),
        ...durabilityRoutes(node),
        ...keyRoutes(node),
        ...quarantineRoutes(node),
        ...scrubRoutes(node),
        ...evidenceRoutes(evidence),
        ...snapshotRoutes(node),
      },
      { interceptors: [judging(observer)] },
    );
  };
}

/** A coded error as Connect carries it: code and outcome in the metadata `clustor-code` and `clustor-outcome`. */
export function asConnectError(error: ClustorError): ConnectError {
  return new ConnectError(error.message, connectCodeOf(error), {
    'clustor-code': error.code,
    'clustor-outcome': error.outcome,
  });
}

function judging(observer: Observer): Interceptor {
  return (next) => async (request) => {
    const peer = request.contextValues.get(principalKey);
    const action = actions[request.method.name] ?? 'adminWrite';
    const refusal = refusalOf(peer, action);
    if (refusal !== undefined) {
      observer.emit({
        level: 'warn',
        kind: 'adminRefused',
        fields: { code: refusal.code, method: request.method.name, principal: peer?.spiffeId },
      });
      throw asConnectError(refusal);
    }
    try {
      return await next(request);
    } catch (error) {
      if (isClustorError(error)) throw asConnectError(error);
      // Connect answers "internal error" and keeps the rest to itself.
      observer.emit({
        level: 'error',
        kind: 'adminFailed',
        fields: { method: request.method.name, message: messageOf(error) },
      });
      throw error;
    }
  };
}

function refusalOf(peer: PeerIdentity | undefined, action: AccessAction): ClustorError | undefined {
  if (peer === undefined)
    return new ClustorError('CLUSTOR_UNAUTHENTICATED', 'the call has no principal');
  const verdict = judgeAccess(peer.kind === 'node' ? 'node' : peer.role, action);
  return verdict.kind === 'allowed'
    ? undefined
    : new ClustorError('CLUSTOR_PERMISSION_DENIED', verdict.reason);
}

function partitionOf(status: NodeStatus, text: string): PartitionStatus {
  const wanted = partitionId(text);
  const row = status.partitions.find((partition) => partition.partitionId === wanted);
  if (row === undefined)
    throw new ClustorError(
      'CLUSTOR_UNKNOWN_PARTITION',
      `node ${status.nodeId} hosts no replica of partition ${wanted}`,
    );
  return row;
}

function connectCodeOf(error: ClustorError): Code {
  switch (error.code) {
    case 'CLUSTOR_INVALID_ARGUMENT':
      return Code.InvalidArgument;
    case 'CLUSTOR_UNAUTHENTICATED':
      return Code.Unauthenticated;
    case 'CLUSTOR_PERMISSION_DENIED':
      return Code.PermissionDenied;
    case 'CLUSTOR_UNKNOWN_PARTITION':
      return Code.NotFound;
    default:
      return error.retryable ? Code.Unavailable : Code.Internal;
  }
}
