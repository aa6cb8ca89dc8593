/** The call of the admin service that says what the disk of a node proves about entries. */
import type { ServiceImpl } from '@connectrpc/connect';
import { logIndex, partitionId } from '../base/ids.ts';
import type { EvidenceDeskQuestion } from '../runtime/evidence-desk.ts';
import type { DirectoryEvidence } from '../storage/entry-evidence.ts';
import { evidenceMessage } from './evidence-message.ts';
import type { AdminService } from './generated/clustor/admin/v1/admin_pb.ts';

/** Who reads the disk: an `EvidenceDesk`. */
export interface EvidenceSource {
  gather(question: EvidenceDeskQuestion): Promise<DirectoryEvidence>;
}

/** The handlers of these calls. */
export function evidenceRoutes(
  source: EvidenceSource,
): Pick<ServiceImpl<typeof AdminService>, 'gatherEvidence'> {
  return {
    gatherEvidence: async (request, { signal }) =>
      evidenceMessage(
        await source.gather({
          partitionId: partitionId(request.partitionId),
          indexes: new Set(request.indexes.map((index) => logIndex(Number(index)))),
          signal,
        }),
      ),
  };
}
