/**
 * HTTP/2 to the admin service of one node, with the caller's certificate.
 *
 * The node is judged like one that is dialed for the data path (`tls-dialer.ts`): TLS 1.3, the chain, then the SPIFFE id
 * in place of host names, all before a byte of a request is sent.
 */
import { X509Certificate } from 'node:crypto';

import type { Transport as ConnectTransport } from '@connectrpc/connect';
import { createConnectTransport, Http2SessionManager } from '@connectrpc/connect-node';

import { ClustorError, isClustorError, messageOf } from '../base/errors.ts';
import type { NodeId } from '../base/ids.ts';
import type { NodeAddress } from '../ports/transport.ts';
import type { CertificateMaterial } from './certificate-files.ts';
import { judgePeer } from './peer-certificate.ts';
import { isCertificateError } from './tls-connection.ts';
import { secureContextOptions } from './tls-listener.ts';

/** Options of {@link openAdminTransport}. */
export interface AdminTransportOptions {
  readonly address: NodeAddress;
  readonly material: CertificateMaterial;
  /** The node that must be at the address. */
  readonly expected?: NodeId;
  readonly deadlineMs: number;
}

/** A way to one node's admin service; it connects with the first call. */
export interface AdminTransport {
  readonly transport: ConnectTransport;
  /** `host:port`, for messages. */
  readonly endpoint: string;
  /** What this side or the node found wrong with the other's certificate, if that is why a call failed. */
  refusalOf(error: unknown): ClustorError | undefined;
  close(): void;
}

/** Makes a transport. */
export function openAdminTransport({
  address,
  material,
  expected,
  deadlineMs,
}: AdminTransportOptions): AdminTransport {
  const { host, port } = address;
  const endpoint = `${host.includes(':') ? `[${host}]` : host}:${port}`;
  const baseUrl = `https://${endpoint}`;
  const sessionManager = new Http2SessionManager(
    baseUrl,
    {},
    {
      ...secureContextOptions(material),
      rejectUnauthorized: true,
      // Called when the chain was found good; the certificate's host names decide nothing.
      checkServerIdentity: (_host, certificate) => {
        const verdict = judgePeer(new X509Certificate(certificate.raw), {
          clusterId: material.identity.clusterId,
          mustBeNode: true,
          nodeId: expected,
        });
        return verdict.kind === 'refused'
          ? new ClustorError(verdict.code, verdict.reason)
          : undefined;
      },
    },
  );
  const transport = createConnectTransport({
    baseUrl,
    httpVersion: '2',
    sessionManager,
    defaultTimeoutMs: deadlineMs,
  });
  return {
    transport,
    endpoint,
    refusalOf: (error) => refusalOf(error, endpoint),
    close: () => {
      sessionManager.abort();
    },
  };
}

/** What this side or the node found wrong with the other's certificate. */
function refusalOf(error: unknown, endpoint: string): ClustorError | undefined {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (isClustorError(cause)) return cause;
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'CERT_HAS_EXPIRED' || code === 'CERT_NOT_YET_VALID') {
      const message = `the certificate of ${endpoint} is not valid now: ${messageOf(cause)}`;
      return new ClustorError('CLUSTOR_CERTIFICATE_EXPIRED', message, { cause: error });
    }
    if (isCertificateError(code)) {
      const message = `no trust between this side and ${endpoint}: ${messageOf(cause)}`;
      return new ClustorError('CLUSTOR_UNAUTHENTICATED', message, { cause: error });
    }
  }
  return undefined;
}
