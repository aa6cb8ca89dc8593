/**
 * Names of nodes and clients as SPIFFE ids.
 *
 * ```
 * spiffe://clustor/<cluster uuid>/node/<node id>
 * spiffe://clustor/<cluster uuid>/client/<role>/<name>
 * ```
 *
 * The name is the only thing in a certificate that says who its holder is, and it is compared as text in logs and audit
 * lines. So there is exactly one spelling of each identity: lower-case UUID, decimal number without leading zeros, no
 * percent escapes, no query, no trailing slash. Whatever is spelled otherwise is no identity at all.
 */
import { ClustorError } from '../base/errors.ts';
import { clusterId as makeClusterId, nodeId as makeNodeId } from '../base/ids.ts';
import type { ClusterId, NodeId } from '../base/ids.ts';
import type { ClientRole, PeerIdentity } from '../ports/transport.ts';

/** The trust domain of every Clustor identity. */
const trustDomain = 'clustor';

const uuidForm = '[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}';
const nodePattern = new RegExp(`^spiffe://${trustDomain}/(${uuidForm})/node/(0|[1-9][0-9]{0,15})$`);
const clientPattern = new RegExp(
  `^spiffe://${trustDomain}/(${uuidForm})/client/(client|operator|observer)/([a-z0-9._-]{1,64})$`,
);
const namePattern = /^[a-z0-9._-]{1,64}$/;

/** A SPIFFE path must not hold relative segments, which the alphabet of names would allow. */
function isRelativeSegment(name: string): boolean {
  return name === '.' || name === '..';
}

/** The SPIFFE id of a node. */
export function nodeSpiffeId(clusterId: ClusterId, nodeId: NodeId): string {
  return `spiffe://${trustDomain}/${clusterId}/node/${nodeId}`;
}

/**
 * The SPIFFE id of a client.
 *
 * @throws ClustorError `CLUSTOR_INVALID_ARGUMENT` when the name is not 1 to 64 of `a-z 0-9 . _ -`.
 */
export function clientSpiffeId(clusterId: ClusterId, role: ClientRole, name: string): string {
  if (!namePattern.test(name) || isRelativeSegment(name)) {
    throw new ClustorError(
      'CLUSTOR_INVALID_ARGUMENT',
      `a client name must be 1 to 64 characters of a-z, 0-9, ".", "_" and "-", got "${name}"`,
    );
  }
  return `spiffe://${trustDomain}/${clusterId}/client/${role}/${name}`;
}

/** Reads a SPIFFE id; `undefined` unless it is spelled exactly as the functions above spell it. */
export function parseSpiffeId(uri: string): PeerIdentity | undefined {
  const node = nodePattern.exec(uri);
  if (node !== null) {
    const [, cluster = '', id = ''] = node;
    const value = Number(id);
    if (!Number.isSafeInteger(value)) return undefined;
    return {
      kind: 'node',
      clusterId: makeClusterId(cluster),
      nodeId: makeNodeId(value),
      spiffeId: uri,
    };
  }
  const client = clientPattern.exec(uri);
  if (client === null) return undefined;
  const [, cluster = '', role = '', name = ''] = client;
  if (isRelativeSegment(name)) return undefined;
  return {
    kind: 'client',
    clusterId: makeClusterId(cluster),
    role: role as ClientRole,
    name,
    spiffeId: uri,
  };
}
