/** Asks the admin service of one node, over HTTP/2 with the caller's certificate. */
import { X509Certificate } from 'node:crypto';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { createConnectTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { AdminService, type GetStatusResponse, type Partition } from '../admin/generated/clustor/admin/v1/admin_pb.ts';
import type { WhyAnswer, WhyKind } from '../admin/why.ts';
import { errorCodes, type ErrorCode } from '../base/error-codes.ts';
import { ClustorError, messageOf } from '../base/errors.ts';
import type { NodeId } from '../base/ids.ts';
import type { NodeAddress } from '../ports/transport.ts';
import type { CertificateMaterial } from './certificate-files.ts';
import { judgePeer } from './peer-certificate.ts';

export type { WhyAnswer, WhyKind } from '../admin/why.ts';

/** 64-bit numbers as numbers, enumerations as they are, the message's own marks left out. @public */
export type Plain<T> = T extends bigint ? number : T extends readonly (infer Item)[] ? Plain<Item>[] : T extends object ? { [Key in Exclude<keyof T, `$${string}`>]: Plain<T[Key]> } : T;

/** What a node says of itself. @public */
export type AdminNodeStatus = Omit<Plain<GetStatusResponse>, 'journal'> & { readonly journal: NonNullable<Plain<GetStatusResponse>['journal']> };

/** Options of {@link openAdminClient}. */
export interface AdminClientOptions {
  readonly address: NodeAddress;
  readonly material: CertificateMaterial;
  /** The node that must be at the address. */
  readonly expected?: NodeId;
}

/** The admin service of one node. */
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
  const baseUrl = `https://${host.includes(':') ? `[${host}]` : host}:${port}`;
  const sessionManager = new Http2SessionManager(baseUrl, {}, {
    cert: material.certificatePem,
    key: material.privateKeyPem,
    ca: material.trustBundlePem,
    minVersion: 'TLSv1.3',
    // Called when the chain was found good; the certificate's host names decide nothing.
    checkServerIdentity: (_host, certificate) => {
      const verdict = judgePeer(new X509Certificate(certificate.raw), { clusterId: material.identity.clusterId, mustBeNode: true, nodeId: expected });
      return verdict.kind === 'refused' ? new ClustorError(verdict.code, verdict.reason) : undefined;
    },
  });
  const client = createClient(AdminService, createConnectTransport({ baseUrl, httpVersion: '2', sessionManager, defaultTimeoutMs: deadlineMs }));
  const call = async <T>(run: () => Promise<T>): Promise<T> => {
    try {
      return await run();
    } catch (error) {
      throw asClustorError(error, `${host}:${port}`);
    }
  };
  return {
    getStatus: () => call(async () => plain(await client.getStatus({})) as AdminNodeStatus),
    listPartitions: () => call(async () => (await client.listPartitions({})).partitions.map((row) => plain(row) as Plain<Partition>)),
    why: (partitionId, kind) => call(async () => plain(await client.why({ partitionId, kind })) as WhyAnswer),
    close: () => {
      sessionManager.abort();
      return Promise.resolve();
    },
  };
}

function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return Number(value);
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).filter(([name]) => !name.startsWith('$')).map(([name, field]) => [name, plain(field)]));
}

function asClustorError(error: unknown, address: string): ClustorError {
  const known = ConnectError.from(error);
  const code = known.metadata.get('clustor-code');
  if (code !== null && code in errorCodes) return new ClustorError(code as ErrorCode, known.rawMessage, { cause: error });
  if (known.code === Code.DeadlineExceeded) return new ClustorError('CLUSTOR_DEADLINE_EXCEEDED', `${address} did not answer within ${deadlineMs} ms`, { cause: error, outcome: 'surelyNot' });
  return new ClustorError('CLUSTOR_NO_LEADER', `${address} cannot be reached: ${messageOf(error)}`, { cause: error });
}
