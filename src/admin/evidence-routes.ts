/** The call of the admin service that says what the disk of a node proves about entries. */
import type { ServiceImpl } from '@connectrpc/connect';
import { logIndex, partitionId, type LogIndex, type PartitionId } from '../base/ids.ts';
import type { DirectoryEvidence } from '../storage/entry-evidence.ts';
import { evidenceMessage } from './evidence-message.ts';
import type { AdminService } from './generated/clustor/admin/v1/admin_pb.ts';

/** Who reads the disk: an `EvidenceDesk`. */
export interface EvidenceSource {
  gather(partitionId: PartitionId, indexes: ReadonlySet<LogIndex>): Promise<DirectoryEvidence>;
}

/** The handlers of these calls. */
export function evidenceRoutes(
  source: EvidenceSource,
): Pick<ServiceImpl<typeof AdminService>, 'gatherEvidence'> {
  return {
    gatherEvidence: async (request) => {
      const indexes = new Set(request.indexes.map((index) => logIndex(Number(index))));
      return evidenceMessage(await source.gather(partitionId(request.partitionId), indexes));
    },
  };
}
