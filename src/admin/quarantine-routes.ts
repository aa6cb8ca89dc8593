/** Quarantines that an operator begins or ends, at the replica of one node (specification §5.6). */
import { create } from '@bufbuild/protobuf';
import type { ServiceImpl } from '@connectrpc/connect';
import { ClustorError } from '../base/errors.ts';
import { partitionId } from '../base/ids.ts';
import { quarantineReasons, type QuarantineReason } from '../policy/quarantine.ts';
import {
  ClearQuarantineResponseSchema,
  SetQuarantineResponseSchema,
  type AdminService,
} from './generated/clustor/admin/v1/admin_pb.ts';
import type { MembershipSubject } from './membership-routes.ts';

type QuarantineRoutes = Pick<ServiceImpl<typeof AdminService>, 'setQuarantine' | 'clearQuarantine'>;

/** The routes. */
export function quarantineRoutes(node: MembershipSubject): QuarantineRoutes {
  return {
    setQuarantine: async (request) => {
      const { ticket, reason } = request;
      await node.partition(partitionId(request.partitionId)).setQuarantine(ticket, reason);
      return create(SetQuarantineResponseSchema);
    },
    clearQuarantine: async (request) => {
      const which = request.which === '' ? undefined : reasonOf(request.which);
      await node.partition(partitionId(request.partitionId)).clearQuarantine(request.ticket, which);
      return create(ClearQuarantineResponseSchema);
    },
  };
}

function reasonOf(text: string): QuarantineReason {
  const reason = quarantineReasons.find((known) => known === text);
  if (reason === undefined)
    throw new ClustorError(
      'CLUSTOR_INVALID_ARGUMENT',
      `a quarantine is one of ${quarantineReasons.join(', ')}, not '${text}'`,
    );
  return reason;
}
