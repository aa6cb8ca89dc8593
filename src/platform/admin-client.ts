/**
 * Asks the admin service of one node, over HTTP/2 with the caller's certificate.
 *
 * The node is judged like one that is dialed for the data path (`tls-dialer.ts`): TLS 1.3, the chain, then the SPIFFE id
 * in place of host names, all before a byte of a request is sent.
 */
import { X509Certificate } from 'node:crypto';

import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { createConnectTransport, Http2SessionManager } from '@connectrpc/connect-node';

import {
  AdminService,
  type GetStatusResponse,
  type Partition,
} from '../admin/generated/clustor/admin/v1/admin_pb.ts';
import type { WhyAnswer, WhyKind } from '../admin/why.ts';
import { errorCodes, type ErrorCode } from '../base/error-codes.ts';
import { ClustorError, isClustorError, messageOf } from '../base/errors.ts';
import type { NodeId } from '../base/ids.ts';
import type { NodeAddress } from '../ports/transport.ts';
import type { CertificateMaterial } from './certificate-files.ts';
import { judgePeer } from './peer-certificate.ts';
import { isCertificateError } from './tls-connection.ts';
import { secureContextOptions } from './tls-listener.ts';

export type { WhyAnswer, WhyKind } from '../admin/why.ts';

/** 64-bit numbers as numbers, the message's own marks left out. @public */
export type Plain<T> = T extends bigint
  ? number
  : T extends readonly (infer Item)[]
    ? Plain<Item>[]
    : T extends object
      ? { [Key in Exclude<keyof T, `$${string}`>]: Plain<T[Key]> }
      : T;

/** What a node says of itself. @public */
export type AdminNodeStatus = Omit<Plain<GetStatusResponse>, 'journal'> & {
  readonly journal: NonNullable<Plain<GetStatusResponse>['journal']>;
};

/** Options of {@link openAdminClient}. */
export interface AdminClientOptions {
  readonly address: NodeAddress;
  readonly material: CertificateMaterial;
  /** The node that must be at the address. */
  readonly expected?: NodeId;
}

/**
 * The admin service of one node. Every call fails with a ClustorError: the node's own one, one of security when the node
 * is not who it should be, `CLUSTOR_DEADLINE_EXCEEDED` after 5 s, `CLUSTOR_CLOSED` after `close`, otherwise
 * `CLUSTOR_NO_LEADER` for a node that cannot be reached.
 */
export interface AdminClient {
  getStatus(): Promise<AdminNodeStatus>;
  listPartitions(): Promise<readonly Plain<Partition>[]>;
  why(partitionId: string, kind: WhyKind): Promise<WhyAnswer>;
  close(): Promise<void>;
}

const deadlineMs = 5_000;

/** Makes a client; it connects with its first call. */
export function openAdminClient({ address, material, expected }: AdminClientOptions): AdminClient {
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
  const client = createClient(AdminService, transport);
  let isClosed = false;
  const call = async <T>(run: () => Promise<T>): Promise<T> => {
    if (isClosed) throw closedError();
    try {
      return await run();
    } catch (error) {
      throw isClosed ? closedError() : asClustorError(error, endpoint);
    }
  };
  return {
    getStatus: () => call(async () => plain(await client.getStatus({})) as AdminNodeStatus),
    listPartitions: () =>
      call(async () => plain((await client.listPartitions({})).partitions) as Plain<Partition>[]),
    why: (partitionId, kind) =>
      call(async () => plain(await client.why({ partitionId, kind })) as WhyAnswer),
    close: () => {
      isClosed = true;
      sessionManager.abort();
      return Promise.resolve();
    },
  };
}

function closedError(): ClustorError {
  return new ClustorError('CLUSTOR_CLOSED', 'the admin client was closed', {
    outcome: 'surelyNot',
  });
}

/** Numbers above 2^53 - 1 never leave a node: it refuses logs that long. */
function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return Number(value);
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  const fields = Object.entries(value).filter(([name]) => !name.startsWith('$'));
  return Object.fromEntries(fields.map(([name, field]) => [name, plain(field)]));
}

function asClustorError(error: unknown, endpoint: string): ClustorError {
  const known = ConnectError.from(error);
  const code = known.metadata.get('clustor-code');
  if (code !== null && code in errorCodes) {
    return new ClustorError(code as ErrorCode, known.rawMessage, { cause: error });
  }
  const refusal = refusalOf(error, endpoint);
  if (refusal !== undefined) return refusal;
  if (known.code === Code.DeadlineExceeded) {
    const message = `${endpoint} did not answer within ${deadlineMs} ms`;
    return new ClustorError('CLUSTOR_DEADLINE_EXCEEDED', message, {
      cause: error,
      outcome: 'surelyNot',
    });
  }
  // A node that refuses this side's certificate just closes; the reason is in its own log.
  const message = `${endpoint} gave no answer, and if it runs, its log says why: ${known.rawMessage}`;
  return new ClustorError('CLUSTOR_NO_LEADER', message, { cause: error });
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
