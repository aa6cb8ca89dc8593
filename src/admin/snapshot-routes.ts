/** Snapshots of the replicas on a node: taking one, and how it stands with them as a message. */
import { create } from '@bufbuild/protobuf';
import type { ServiceImpl } from '@connectrpc/connect';
import { partitionId } from '../base/ids.ts';
import type { SnapshotInfo, SnapshotStatus as Snapshots } from '../runtime/snapshot-desk.ts';
import {
  SnapshotInstallationSchema,
  SnapshotSchema,
  SnapshotStatusSchema,
  TakeSnapshotResponseSchema,
  type AdminService,
  type Snapshot,
  type SnapshotStatus,
} from './generated/clustor/admin/v1/admin_pb.ts';
import type { MembershipSubject } from './membership-routes.ts';

type SnapshotRoutes = Pick<ServiceImpl<typeof AdminService>, 'takeSnapshot'>;

/** How long a call waits for a snapshot if it does not say. */
const takeDeadlineMs = 20_000;

/** The routes. */
export function snapshotRoutes(node: MembershipSubject): SnapshotRoutes {
  return {
    takeSnapshot: async (request) => {
      const deadlineMs = request.deadlineMs === 0 ? takeDeadlineMs : request.deadlineMs;
      const partition = node.partition(partitionId(request.partitionId));
      const snapshot = snapshotMessage(await partition.takeSnapshot({ deadlineMs }));
      return create(TakeSnapshotResponseSchema, { snapshot });
    },
  };
}

/** How it stands with the snapshots of a replica, as a message. */
export function snapshotsMessage(status: Snapshots): SnapshotStatus {
  const { leasedIndex, installation } = status;
  const { fromNodeId } = installation;
  return create(SnapshotStatusSchema, {
    snapshots: status.snapshots.map(snapshotMessage),
    isMissing: status.isMissing,
    isTaking: status.isTaking,
    takingBytes: BigInt(status.takingBytes),
    lastFailure: status.lastFailure,
    goodIndex: BigInt(status.goodIndex),
    ...(leasedIndex === undefined ? {} : { leasedIndex: BigInt(leasedIndex) }),
    logBytes: BigInt(status.logBytes),
    logBytesMax: BigInt(status.logBytesMax),
    installation: create(SnapshotInstallationSchema, {
      isPulling: installation.isPulling,
      ...(fromNodeId === undefined ? {} : { fromNodeId: BigInt(fromNodeId) }),
      partsDone: BigInt(installation.partsDone),
      parts: BigInt(installation.parts),
      attempts: installation.attempts,
      lastFailure: installation.lastFailure,
    }),
  });
}

function snapshotMessage({ index, term, createdMs, bytes }: SnapshotInfo): Snapshot {
  return create(SnapshotSchema, {
    index: BigInt(index),
    term: BigInt(term),
    createdMs: BigInt(createdMs),
    bytes: BigInt(bytes),
  });
}
