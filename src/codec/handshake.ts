/**
 * What two sides agree on before anything else is said.
 *
 * Accepted exactly when the catalog majors are equal and each side can parse the other's minor. The smaller frame maximum
 * counts; an extension is on when both offer it.
 */
import type { ErrorCode } from '../base/error-codes.ts';
import type { ClusterId, Incarnation, NodeId } from '../base/ids.ts';
import { bodyBytesMax } from './wire-catalog.ts';

/** Extensions as bits. */
export const wireExtensions = {
  forwardCompat: 1,
  wideFrame: 2,
  wideCount: 4,
  experimental: 8,
  /** Frames whose Merkle leaf is by BLAKE3 are understood. */
  blake3Leaves: 16,
} as const;

/** What one side says of itself. */
export interface Handshake {
  readonly catalogMajor: number;
  readonly catalogMinor: number;
  readonly bodyBytesMax: number;
  readonly extensions: number;
  readonly forwardParseMaxMinor: number;
  readonly clusterId: ClusterId;
  /** 0 for clients. */
  readonly nodeId: NodeId;
  readonly bootId: Incarnation;
  /** `host:port` at which a node can be dialed, for nodes that do not know it yet; empty for clients and where it is not known. */
  readonly address: string;
}

/** What a version of the software says it can do. */
export type WireCapabilities = Pick<
  Handshake,
  'catalogMajor' | 'catalogMinor' | 'bodyBytesMax' | 'extensions' | 'forwardParseMaxMinor'
>;

/** The outcome of a handshake. */
export type Negotiation =
  | { readonly kind: 'accepted'; readonly bodyBytesMax: number; readonly forwardCompat: boolean }
  | { readonly kind: 'refused'; readonly code: ErrorCode; readonly message: string };

const bodyBytesMaxFloor = 64 * 1024;

/** The handshake of this version, except where `self` says otherwise. */
export function ownHandshake(
  self: {
    readonly clusterId: ClusterId;
    readonly nodeId: NodeId;
    readonly bootId: Incarnation;
    readonly address?: string;
  } & Partial<WireCapabilities>,
): Handshake {
  return {
    catalogMajor: 1,
    catalogMinor: 0,
    bodyBytesMax,
    extensions: wireExtensions.forwardCompat | wireExtensions.blake3Leaves,
    forwardParseMaxMinor: 0,
    address: '',
    ...self,
  };
}

/** Compares two handshakes; both sides come to the same result. */
export function negotiate(
  local: Handshake,
  remote: Omit<Handshake, 'clusterId' | 'nodeId' | 'bootId' | 'address'>,
): Negotiation {
  const isParsable =
    remote.catalogMinor <= local.forwardParseMaxMinor &&
    local.catalogMinor <= remote.forwardParseMaxMinor;
  if (local.catalogMajor !== remote.catalogMajor || !isParsable) {
    const versions = `${local.catalogMajor}.${local.catalogMinor} here, ${remote.catalogMajor}.${remote.catalogMinor} there`;
    return {
      kind: 'refused',
      code: 'CLUSTOR_WIRE_CATALOG_MISMATCH',
      message: `the wire catalogs do not fit: ${versions}`,
    };
  }
  if (remote.bodyBytesMax < bodyBytesMaxFloor) {
    return {
      kind: 'refused',
      code: 'CLUSTOR_WIRE_BAD_VALUE',
      message: `a frame maximum below ${bodyBytesMaxFloor} bytes cannot work`,
    };
  }
  return {
    kind: 'accepted',
    bodyBytesMax: Math.min(local.bodyBytesMax, remote.bodyBytesMax),
    forwardCompat: (local.extensions & remote.extensions & wireExtensions.forwardCompat) !== 0,
  };
}
