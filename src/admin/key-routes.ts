/** The calls of the admin service that are about the keys of a node's data directory. */
import { create } from '@bufbuild/protobuf';
import type { ServiceImpl } from '@connectrpc/connect';
import type { KeyStatus, NodeKeys } from '../storage/key-desk.ts';
import {
  KeyEpochSchema,
  KeysResponseSchema,
  type AdminService,
  type KeysResponse,
} from './generated/clustor/admin/v1/admin_pb.ts';

/** Whose keys they are: a `ClustorNode`. */
export interface KeySubject {
  readonly keys: NodeKeys;
}

/** The handlers of these calls. */
export function keyRoutes(
  node: KeySubject,
): Pick<ServiceImpl<typeof AdminService>, 'getKeys' | 'rotateKeys'> {
  return {
    getKeys: () => keysMessage(node.keys.status()),
    rotateKeys: async () => keysMessage(await node.keys.rotate()),
  };
}

function keysMessage(status: KeyStatus): KeysResponse {
  return create(KeysResponseSchema, {
    isEncrypted: status.isEncrypted,
    provider: status.provider,
    epochs: status.epochs.map(({ epoch, state, createdMs, kekId, segments }) =>
      create(KeyEpochSchema, {
        epoch,
        state,
        createdMs: BigInt(createdMs),
        kekId,
        segments: BigInt(segments),
      }),
    ),
    plainSegments: BigInt(status.plainSegments),
    segmentsToRewrite: BigInt(status.segmentsToRewrite),
    segmentsRewritten: BigInt(status.segmentsRewritten),
    rewritingSegmentSeq: BigInt(status.rewritingSegmentSeq),
    rewritingBlocksDone: BigInt(status.rewritingBlocksDone),
    rewritingBlocks: BigInt(status.rewritingBlocks),
    lastFailure: status.lastFailure,
    ageMs: BigInt(status.ageMs),
    rotateAfterMs: BigInt(status.rotateAfterMs),
    nextRotationInMs: BigInt(status.nextRotationInMs),
    rotationFailure: status.rotationFailure,
  });
}
