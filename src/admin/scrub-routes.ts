/** The calls of the admin service about the background scrub of a node's data directory. */
import { create } from '@bufbuild/protobuf';
import type { ServiceImpl } from '@connectrpc/connect';
import type { ScrubStatistics } from '../storage/log-store-types.ts';
import type { NodeScrub, ScrubStatus } from '../storage/scrubber.ts';
import {
  ScrubResponseSchema,
  ScrubSchema,
  type AdminService,
  type Scrub,
  type ScrubResponse,
} from './generated/clustor/admin/v1/admin_pb.ts';

/** Whose scrub it is: a `ClustorNode`. */
export interface ScrubSubject {
  readonly scrub: NodeScrub;
}

type ScrubRoutes = Pick<
  ServiceImpl<typeof AdminService>,
  'getScrub' | 'startScrub' | 'pauseScrub' | 'resumeScrub'
>;

/** The handlers of these calls. */
export function scrubRoutes(node: ScrubSubject): ScrubRoutes {
  return {
    getScrub: async () => responseOf(await node.scrub.status()),
    startScrub: async () => responseOf(await node.scrub.start()),
    pauseScrub: async () => responseOf(await node.scrub.pause()),
    resumeScrub: async () => responseOf(await node.scrub.resume()),
  };
}

/** What a scrub has done, as a message. */
export function scrubMessage(scrub: ScrubStatistics): Scrub {
  return create(ScrubSchema, {
    passes: BigInt(scrub.passes),
    bytesRead: BigInt(scrub.bytesRead),
    lastPassMs: BigInt(Math.floor(scrub.lastPassMs)),
    coverageAgeMs: BigInt(Math.floor(scrub.coverageAgeMs)),
    damagedSegments: scrub.damagedSegments,
    ledgerRenewals: scrub.ledgerRenewals,
    damagedSnapshots: scrub.damagedSnapshots,
    busyMs: BigInt(Math.floor(scrub.busyMs)),
    passBytesLeft: BigInt(scrub.passBytesLeft),
  });
}

function responseOf(status: ScrubStatus): ScrubResponse {
  const { pausedSinceMs } = status;
  return create(ScrubResponseSchema, {
    isPaused: pausedSinceMs !== undefined,
    pausedSinceMs: BigInt(Math.floor(pausedSinceMs ?? 0)),
    scrub: scrubMessage(status),
  });
}
