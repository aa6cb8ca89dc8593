/** A remote caller of a cluster: finds leaders, retries under the same key, pipelines many requests on one connection. */
import { ClustorError } from '../base/errors.ts';
import type { NodeId } from '../base/ids.ts';
import type { AdminNodeStatus } from '../admin/generated/node-status.ts';
import {
  parseCertificateMaterial,
  type CertificateMaterial,
} from '../platform/certificate-files.ts';
import { openCertificateKeeper } from '../platform/certificate-keeper.ts';
import { nodeClock } from '../platform/node-clock.ts';
import { installPlatformCrc32c } from '../platform/node-crc32c.ts';
import { nodeEntropy } from '../platform/node-entropy.ts';
import { openTlsTransport } from '../platform/tls-transport.ts';
import { silentObserver, type Observer } from '../ports/observer.ts';
import { parseAddress } from '../runtime/node-address.ts';
import { openAdminClient } from './admin.ts';
import { openClientCore, type ClustorClient } from './client-core.ts';
import type { ClientLimits } from './client-options.ts';

export type { AppendCallback } from './append-lane.ts';
export type { ClustorClient } from './client-core.ts';
export {
  defaultClientLimits,
  type ClientAppendOptions,
  type ClientLimits,
  type ClientReadOptions,
  type ClusterDescription,
  type DescribedNode,
  type DescribedPartition,
  type ReadConsistency,
  type ReadReceipt,
} from './client-options.ts';
export type {
  AdminNodeStatus,
  ReportedDisk,
  ReportedDurability,
  ReportedIoWriter,
  ReportedJointPhase,
  ReportedJournal,
  ReportedLatencyWindow,
  ReportedLease,
  ReportedLeaves,
  ReportedMember,
  ReportedPartition,
  ReportedQuarantine,
  ReportedScrub,
  ReportedSnapshot,
  ReportedSnapshotInstallation,
  ReportedSnapshotStatus,
} from '../admin/generated/node-status.ts';
export type { AppendReceipt } from '../runtime/local-append.ts';
export { ClustorError, isClustorError } from '../base/errors.ts';
export {
  partitionId,
  type LogIndex,
  type NodeId,
  type PartitionId,
  type Term,
} from '../base/ids.ts';

/** What {@link connect} needs. @public */
export interface ConnectOptions {
  /** `host:port` of TLS ports of nodes; one that answers is enough, the others are learnt. */
  readonly addresses: readonly string[];
  /** PEM text of the client's certificate; its SPIFFE name says which cluster and which role. */
  readonly certificate: string;
  /** PEM text of its private key. */
  readonly privateKey: string;
  /** PEM text of the authorities that nodes' certificates come from. */
  readonly trustBundle: string;
  /** Refuses to connect unless the certificate is of this cluster. */
  readonly clusterId?: string;
  /** Called about every minute for renewed PEM texts; without it the given ones are used for good. */
  readonly renew?: () => Promise<
    Pick<ConnectOptions, 'certificate' | 'privateKey' | 'trustBundle'>
  >;
  readonly limits?: Partial<ClientLimits>;
  readonly observer?: Observer;
}

/** What one node said of itself, or why it did not answer. @public */
export interface NodeReport {
  readonly nodeId: NodeId;
  readonly address: string;
  readonly status: AdminNodeStatus | undefined;
  readonly error: ClustorError | undefined;
}

/** A connected client, with the calls that go to the admin service. @public */
export interface ConnectedClient extends Pick<
  ClustorClient,
  'append' | 'appendWith' | 'read' | 'describe' | 'partitionIds' | 'pendingCount' | 'commitIndex'
> {
  /** Asks every known node for its status. */
  status(): Promise<{ readonly nodes: readonly NodeReport[] }>;
  close(): Promise<void>;
}

/** Connects to a cluster. Resolves once a node answered. @throws ClustorError with the reason of the last attempt. @public */
export async function connect(options: ConnectOptions): Promise<ConnectedClient> {
  const observer = options.observer ?? silentObserver;
  await installPlatformCrc32c();
  const first = parseCertificateMaterial(options);
  const { clusterId } = first.identity;
  if (options.clusterId !== undefined && options.clusterId !== clusterId) {
    throw new ClustorError(
      'CLUSTOR_WRONG_CLUSTER',
      `the certificate is of cluster ${clusterId}, not of ${options.clusterId}`,
    );
  }
  const load = async (): Promise<CertificateMaterial> =>
    options.renew === undefined ? first : parseCertificateMaterial(await options.renew());
  const keeper = await openCertificateKeeper({ load, clock: nodeClock, observer });
  const transport = openTlsTransport({ clock: nodeClock, observer, keeper });
  try {
    const core = await openClientCore({
      transport,
      clock: nodeClock,
      entropy: nodeEntropy,
      observer,
      clusterId,
      addresses: options.addresses.map(parseAddress),
      ...(options.limits === undefined ? {} : { limits: options.limits }),
    });
    return connected(core, {
      material: () => keeper.current,
      close: async () => {
        keeper.close();
        await transport.close();
      },
    });
  } catch (error) {
    keeper.close();
    await transport.close();
    throw error;
  }
}

function connected(
  core: ClustorClient,
  rest: { readonly material: () => CertificateMaterial; readonly close: () => Promise<void> },
): ConnectedClient {
  return {
    append: core.append.bind(core),
    appendWith: core.appendWith.bind(core),
    read: core.read.bind(core),
    describe: core.describe.bind(core),
    commitIndex: core.commitIndex.bind(core),
    get partitionIds() {
      return core.partitionIds;
    },
    get pendingCount() {
      return core.pendingCount;
    },
    status: async () => {
      const { nodes } = await core.describe();
      return { nodes: await Promise.all(nodes.map((node) => reportOf(node, rest.material()))) };
    },
    close: async () => {
      await core.close();
      await rest.close();
    },
  };
}

async function reportOf(
  node: { readonly nodeId: NodeId; readonly address: string },
  material: CertificateMaterial,
): Promise<NodeReport> {
  const admin = openAdminClient({
    address: parseAddress(node.address),
    material,
    expected: node.nodeId,
  });
  const { nodeId, address } = node;
  try {
    return { nodeId, address, status: await admin.getStatus(), error: undefined };
  } catch (error) {
    const failure =
      error instanceof ClustorError
        ? error
        : new ClustorError(
            'CLUSTOR_NO_LEADER',
            `node ${nodeId} at ${address} does not answer: ${String(error)}`,
          );
    return { nodeId, address, status: undefined, error: failure };
  } finally {
    await admin.close();
  }
}
