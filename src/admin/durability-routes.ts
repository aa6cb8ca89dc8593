/** The calls of the admin service about how a partition's batches go to the disk. */
import { create } from '@bufbuild/protobuf';
import type { ServiceImpl } from '@connectrpc/connect';
import { durabilityModes } from '../base/durability-mode.ts';
import { ClustorError } from '../base/errors.ts';
import { partitionId } from '../base/ids.ts';
import type { DurabilityStatus } from '../runtime/durability-desk.ts';
import {
  DurabilitySchema,
  type AdminService,
  type Durability,
} from './generated/clustor/admin/v1/admin_pb.ts';
import type { MembershipSubject } from './membership-routes.ts';

type DurabilityRoutes = Pick<ServiceImpl<typeof AdminService>, 'getDurability' | 'setDurability'>;

/** The handlers of these calls. */
export function durabilityRoutes(node: MembershipSubject): DurabilityRoutes {
  return {
    getDurability: (request) =>
      durabilityMessage(node.partition(partitionId(request.partitionId)).durability()),
    setDurability: async (request) => {
      const mode = durabilityModes.find((known) => known === request.mode);
      if (mode === undefined)
        throw new ClustorError(
          'CLUSTOR_INVALID_ARGUMENT',
          `the durability mode is ${durabilityModes.join(' or ')}, got "${request.mode}"`,
        );
      const { expectedEpoch, deadlineMs } = request;
      return durabilityMessage(
        await node.partition(partitionId(request.partitionId)).setDurability(mode, {
          ...(expectedEpoch === undefined ? {} : { expectedEpoch }),
          ...(deadlineMs === 0 ? {} : { deadlineMs }),
        }),
      );
    },
  };
}

/** The mode of a partition as a message. */
export function durabilityMessage(status: DurabilityStatus): Durability {
  const { mode, wantedMode, epoch, index, groupFsync } = status;
  return create(DurabilitySchema, {
    mode,
    wantedMode,
    epoch,
    index: BigInt(index),
    ...(groupFsync?.kind === 'refused'
      ? { groupFsyncClause: groupFsync.clause, groupFsyncReason: groupFsync.reason }
      : {}),
  });
}
