/** Whether what a peer says of a snapshot can be used: its manifest, and each part by the manifest. */
import { hexEncode } from '../base/bytes.ts';
import { messageOf } from '../base/errors.ts';
import type { LogIndex, PartitionId } from '../base/ids.ts';
import {
  decodeManifest,
  type Sha256,
  type SnapshotManifest,
  type SnapshotPart,
} from '../codec/snapshot-manifest.ts';
import type { SnapshotResponse } from './snapshot-server.ts';

/** Verdict on a manifest. */
export type ManifestCheck =
  | { readonly kind: 'good'; readonly manifest: SnapshotManifest }
  | { readonly kind: 'bad'; readonly reason: string };

/** Checks a manifest that a peer sent. */
export function checkManifest(
  response: SnapshotResponse,
  wanted: {
    readonly partitionId: PartitionId;
    readonly minIndex: LogIndex;
    readonly sha256: Sha256;
  },
): ManifestCheck {
  const { partitionId, minIndex, sha256 } = wanted;
  let manifest: SnapshotManifest;
  try {
    const decoded = decodeManifest(response.content, { path: 'the manifest', sha256 });
    // Whatever it is sealed with there is of no use here.
    manifest = { ...decoded, encryption: undefined };
  } catch (error) {
    return bad(messageOf(error));
  }
  const { index, term, parts } = manifest;
  if (manifest.partitionId !== partitionId)
    return bad(`its snapshot is of partition ${manifest.partitionId}`);
  if (index !== response.baseIndex || term !== response.baseTerm)
    return bad('the manifest is of another snapshot than the answer says');
  if (index < minIndex || index === 0)
    return bad(`its snapshot ends at entry ${index}, one up to ${minIndex} is needed`);
  const partBytes = parts[0]?.bytes ?? 0;
  const isEven = ({ bytes }: SnapshotPart, at: number): boolean =>
    at === parts.length - 1 ? bytes <= partBytes : bytes === partBytes;
  if (!parts.every(isEven)) return bad('its parts are not of one length');
  return { kind: 'good', manifest };
}

/** Why a part is not what the manifest says, if it is not. */
export function faultOfPart(
  response: SnapshotResponse,
  wanted: {
    readonly manifest: SnapshotManifest;
    readonly number: number;
    readonly sha256: Sha256;
  },
): string | undefined {
  const { manifest, number, sha256 } = wanted;
  const { part, baseIndex, baseTerm, content } = response;
  if (part !== number || baseIndex !== manifest.index || baseTerm !== manifest.term)
    return `it sent another part than ${number}, which was asked for`;
  const said = manifest.parts[number - 1];
  if (content.length !== said?.bytes || hexEncode(sha256(content)) !== said.digest)
    return `part ${number} is not what the manifest says`;
  return undefined;
}

function bad(reason: string): ManifestCheck {
  return { kind: 'bad', reason };
}
