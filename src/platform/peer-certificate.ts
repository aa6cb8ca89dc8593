/**
 * Reads who the holder of a certificate is, from the certificate alone.
 *
 * Node's own name check knows DNS names and addresses and ignores URI names, and the names come as one text:
 *
 * ```
 * URI:spiffe://clustor/…/node/1, DNS:localhost, IP Address:127.0.0.1
 * ```
 *
 * A name with a character that could be mistaken for the separators is written as a JSON string (`URI:"a\u002c DNS:b"`). The
 * text is cut by that grammar and not at every comma: otherwise an authority that checks only DNS names could be talked into
 * a certificate with a DNS name that reads as an identity. What does not follow the grammar has no identity at all.
 */
import type { X509Certificate } from 'node:crypto';

import type { ErrorCode } from '../base/error-codes.ts';
import type { ClusterId, NodeId } from '../base/ids.ts';
import type { PeerIdentity } from '../ports/transport.ts';
import { parseSpiffeId } from '../security/spiffe.ts';

/** An identity, or why there is none. */
export type IdentityVerdict =
  | { readonly kind: 'identified'; readonly identity: PeerIdentity }
  | { readonly kind: 'refused'; readonly code: ErrorCode; readonly reason: string };

/** Whom one side expects at the other end. */
export interface ExpectedPeer {
  readonly clusterId: ClusterId;
  /** Whether only a node will do: what is dialed is always a node. */
  readonly mustBeNode: boolean;
  /** The one node that will do. */
  readonly nodeId: NodeId | undefined;
}

/** One name up to the next separator: its kind, then a JSON string or text without separators. */
const namePattern = /([A-Za-z ]+):("(?:[^"\\]|\\.)*"|[^",]*)(?:, |$)/y;

/**
 * The URI names in Node's text of the subject alternative names; `undefined` when the text does not follow the grammar
 * above.
 */
export function uriNamesOf(subjectAlternativeNames: string): readonly string[] | undefined {
  const uris: string[] = [];
  namePattern.lastIndex = 0;
  while (namePattern.lastIndex < subjectAlternativeNames.length) {
    const match = namePattern.exec(subjectAlternativeNames);
    if (match === null) return undefined;
    const [, kind = '', value = ''] = match;
    // A quoted name holds characters that no SPIFFE id has; quotes and all, it will not parse as one.
    if (kind === 'URI') uris.push(value);
  }
  return uris;
}

function refused(code: ErrorCode, reason: string): IdentityVerdict {
  return { kind: 'refused', code, reason };
}

/** The identity in a certificate: exactly one URI name, and that a SPIFFE id of Clustor's form. */
export function identityOf(certificate: X509Certificate): IdentityVerdict {
  const uris = uriNamesOf(certificate.subjectAltName ?? '');
  if (uris === undefined) {
    return refused('CLUSTOR_UNAUTHENTICATED', 'the names in the certificate cannot be read');
  }
  const [uri, ...others] = uris;
  if (uri === undefined) {
    return refused('CLUSTOR_UNAUTHENTICATED', 'the certificate has no URI name');
  }
  if (others.length > 0) {
    return refused('CLUSTOR_UNAUTHENTICATED', 'the certificate has more than one URI name');
  }
  const identity = parseSpiffeId(uri);
  if (identity === undefined) {
    return refused(
      'CLUSTOR_UNAUTHENTICATED',
      `the URI name in the certificate is no identity of a node or client: ${uri.slice(0, 200)}`,
    );
  }
  return { kind: 'identified', identity };
}

/** {@link identityOf}, compared with whom this side expects. */
export function judgePeer(
  certificate: X509Certificate | undefined,
  expected: ExpectedPeer,
): IdentityVerdict {
  if (certificate === undefined) {
    return refused('CLUSTOR_UNAUTHENTICATED', 'the peer presented no certificate');
  }
  const verdict = identityOf(certificate);
  if (verdict.kind === 'refused') return verdict;
  const { identity } = verdict;
  if (identity.clusterId !== expected.clusterId) {
    return refused(
      'CLUSTOR_WRONG_CLUSTER',
      `the peer belongs to cluster ${identity.clusterId}, not to ${expected.clusterId}`,
    );
  }
  if (identity.kind !== 'node') {
    if (!expected.mustBeNode) return verdict;
    return refused(
      'CLUSTOR_UNAUTHENTICATED',
      `the peer is a client (${identity.name}), not a node`,
    );
  }
  if (expected.nodeId !== undefined && identity.nodeId !== expected.nodeId) {
    return refused(
      'CLUSTOR_WRONG_NODE',
      `the peer is node ${identity.nodeId}, not node ${expected.nodeId}`,
    );
  }
  return verdict;
}
