/**
 * The folder of a local cluster (`.clustor/`): one `cluster.json`, a development authority, client certificates, and a folder
 * per node with its configuration, certificate, log output and data directory.
 *
 * Crash story: `cluster.json` is written first, with every id that the cluster will have and `isInitialized: false`; replicas
 * are then created from it, which may be repeated; then it is marked. So an interrupted first start goes on where it stopped.
 */
import { access, chmod, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join, resolve } from 'node:path';
import { v7 as uuidv7 } from 'uuid';
import { ClustorError, isClustorError, messageOf } from '../base/errors.ts';
import { clusterId, nodeId, partitionId, type ClusterId } from '../base/ids.ts';
import {
  createKeyFile,
  initializeReplicas,
  openKeyFile,
  planReplicas,
  type PartitionPlan,
} from '../index.ts';
import type { ClientRole } from '../ports/transport.ts';
import { portMax } from '../runtime/node-address.ts';
import {
  createDevelopmentCa,
  issueClientCertificate,
  issueNodeCertificate,
  type CertificateAuthority,
  type IssuedCertificate,
} from '../security/development-ca.ts';

/** A node of a local cluster. */
export interface LocalNode {
  readonly nodeId: number;
  /** `host:port` of its TLS port. */
  readonly address: string;
  /** Loopback port of the product on it; `undefined` without a product. */
  readonly productPort: number | undefined;
  /** It was begun without replicas, to be given some by `clustor members add`. */
  readonly isSpare?: boolean;
}

/** The content of `cluster.json`. */
export interface ClusterFile {
  readonly format: 1;
  readonly clusterId: string;
  readonly isInitialized: boolean;
  /** Whether data directories are encrypted; absent in folders of before there was encryption, which are not. */
  readonly isEncrypted?: boolean;
  /** Module of the product, or `undefined` for the built-in state machine. */
  readonly product: string | undefined;
  readonly nodes: readonly LocalNode[];
  readonly partitions: readonly PartitionPlan[];
}

/** What a new cluster is to be. */
export interface NewCluster {
  /** Nodes that hold a voter of every partition. */
  readonly nodeCount: number;
  /** Further nodes, without replicas. More than there are now are added to an existing cluster. */
  readonly spareCount: number;
  readonly partitionCount: number;
  readonly product: string | undefined;
  readonly basePort: number;
  readonly productPort: number;
  /** Take ports that are free now instead of consecutive ones. */
  readonly isPortsAuto: boolean;
  /** How long leaders serve reads alone, milliseconds; 0 for never. As it is asked for at each start. */
  readonly leaseMs: number;
  /** Bytes that a log grows by before a snapshot is taken; the default of nodes without. As it is asked for at each start. */
  readonly snapshotLogBytes: number | undefined;
  /** Encrypt data directories, each with a KEK of its own beside it. */
  readonly isEncrypted: boolean;
}

/** Paths of PEM files. */
export interface CertificatePaths {
  readonly certificate: string;
  readonly privateKey: string;
  readonly trustBundle: string;
}

/** Partitions that are planned at once. */
export const partitionsMax = 10_000;
/** In the folder of a node, beside its data directory. */
const kekFile = 'kek.json';
const authorityLifetimeMs = 10 * 365 * 86_400_000;
/** Node and client certificates live a day (specification §11). */
export const leafLifetimeMs = 86_400_000;

/** See the file comment. */
export class ClusterDirectory {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  /** Folder of a node. */
  nodeFolder(id: number): string {
    return join(this.path, `node-${id}`);
  }

  /** Configuration file of a node. */
  nodeConfigPath(id: number): string {
    return join(this.nodeFolder(id), 'config.json');
  }

  /** Certificate files of a client role: `client` or `operator`. */
  clientPaths(role: ClientRole): CertificatePaths {
    return certificatePaths(join(this.path, role));
  }

  /** Reads `cluster.json`; `undefined` when there is none. */
  async read(): Promise<ClusterFile | undefined> {
    const path = join(this.path, 'cluster.json');
    let text: string;
    try {
      text = await readFile(path, 'utf8');
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
    try {
      const parsed = JSON.parse(text) as ClusterFile;
      clusterId(parsed.clusterId);
      return parsed;
    } catch (error) {
      throw new ClustorError('CLUSTOR_INTEGRITY', `${path} is not readable: ${messageOf(error)}`, {
        cause: error,
      });
    }
  }

  /** Creates what is missing of a cluster: file, authority, replicas. Returns what it is. */
  async prepare(wanted: NewCluster, wallMs: number): Promise<ClusterFile> {
    await mkdir(this.path, { recursive: true });
    const cluster = await this.#withSpares(
      (await this.read()) ?? (await this.#plan(wanted)),
      wanted,
    );
    await this.#authority(clusterId(cluster.clusterId), wallMs);
    await this.#writeConfigs(cluster, wanted);
    if (cluster.isInitialized) return cluster;
    for (const node of cluster.nodes)
      if (node.isSpare !== true) await this.#initialize(cluster, node);
    const done = { ...cluster, isInitialized: true };
    await this.#writeCluster(done);
    return done;
  }

  /** Issues fresh certificates for every node and client of the cluster. */
  async issueCertificates(cluster: ClusterFile, wallMs: number): Promise<void> {
    const id = clusterId(cluster.clusterId);
    const authority = await this.#authority(id, wallMs);
    for (const node of cluster.nodes) {
      const issued = await issueNodeCertificate({
        authority,
        clusterId: id,
        nodeId: nodeId(node.nodeId),
        hosts: [],
        wallMs,
        lifetimeMs: leafLifetimeMs,
      });
      await writeCertificate(join(this.nodeFolder(node.nodeId), 'tls'), issued, authority);
    }
    for (const role of ['client', 'operator'] as const) {
      const issued = await issueClientCertificate({
        authority,
        clusterId: id,
        role,
        name: `local-${role}`,
        wallMs,
        lifetimeMs: leafLifetimeMs,
      });
      await writeCertificate(join(this.path, role), issued, authority);
    }
  }

  async #plan(wanted: NewCluster): Promise<ClusterFile> {
    const isProduct = wanted.product !== undefined;
    const ports = wanted.isPortsAuto
      ? await freePorts(wanted.nodeCount * 2)
      : Array.from({ length: wanted.nodeCount * 2 }, (_, at) =>
          at < wanted.nodeCount ? wanted.basePort + at : wanted.productPort + at - wanted.nodeCount,
        );
    const nodes = Array.from({ length: wanted.nodeCount }, (_, at): LocalNode => ({
      nodeId: at + 1,
      address: `127.0.0.1:${ports[at] ?? 0}`,
      productPort: isProduct ? ports[wanted.nodeCount + at] : undefined,
    }));
    const partitions = Array.from({ length: wanted.partitionCount }, () =>
      planReplicas(partitionId(uuidv7()), nodes),
    );
    const cluster: ClusterFile = {
      format: 1,
      clusterId: uuidv7(),
      isInitialized: false,
      isEncrypted: wanted.isEncrypted,
      product: wanted.product,
      nodes,
      partitions,
    };
    await this.#writeCluster(cluster);
    return cluster;
  }

  async #withSpares(cluster: ClusterFile, wanted: NewCluster): Promise<ClusterFile> {
    const known = cluster.nodes.filter((node) => node.isSpare === true).length;
    const missing = wanted.spareCount - known;
    if (missing <= 0) return cluster;
    const first = cluster.nodes.length;
    if (!wanted.isPortsAuto) checkPorts({ ...wanted, nodeCount: first + missing });
    const ports = wanted.isPortsAuto
      ? await freePorts(missing * 2)
      : Array.from({ length: missing * 2 }, (_, at) =>
          at < missing ? wanted.basePort + first + at : wanted.productPort + first + at - missing,
        );
    const spares = Array.from({ length: missing }, (_, at): LocalNode => ({
      nodeId: first + at + 1,
      address: `127.0.0.1:${ports[at] ?? 0}`,
      productPort: cluster.product === undefined ? undefined : ports[missing + at],
      isSpare: true,
    }));
    const wider = { ...cluster, nodes: [...cluster.nodes, ...spares] };
    await this.#writeCluster(wider);
    return wider;
  }

  async #authority(id: ClusterId, wallMs: number): Promise<CertificateAuthority> {
    const folder = join(this.path, 'ca');
    const certificatePath = join(folder, 'certificate.pem');
    const keyPath = join(folder, 'private-key.pem');
    try {
      return {
        certificatePem: await readFile(certificatePath, 'utf8'),
        privateKeyPem: await readFile(keyPath, 'utf8'),
      };
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
    const authority = await createDevelopmentCa({
      clusterId: id,
      wallMs,
      lifetimeMs: authorityLifetimeMs,
    });
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await replaceText(keyPath, authority.privateKeyPem, 0o600);
    await replaceText(certificatePath, authority.certificatePem, 0o644);
    return authority;
  }

  /** A directory gets all its replicas or none: one that has them is from an earlier attempt. */
  async #initialize(cluster: ClusterFile, node: LocalNode): Promise<void> {
    try {
      await initializeReplicas({
        directory: join(this.nodeFolder(node.nodeId), 'data'),
        encryption:
          cluster.isEncrypted === true
            ? { keyProvider: await openKeyFile(this.#kekPath(node.nodeId)) }
            : 'none',
        clusterId: cluster.clusterId,
        nodeId: node.nodeId,
        partitions: cluster.partitions,
      });
    } catch (error) {
      if (!isClustorError(error, 'CLUSTOR_ALREADY_INITIALIZED')) throw error;
    }
  }

  async #writeConfigs(
    cluster: ClusterFile,
    { leaseMs, snapshotLogBytes }: Pick<NewCluster, 'leaseMs' | 'snapshotLogBytes'>,
  ): Promise<void> {
    for (const node of cluster.nodes) {
      const folder = this.nodeFolder(node.nodeId);
      await mkdir(folder, { recursive: true });
      const config = {
        clusterId: cluster.clusterId,
        nodeId: node.nodeId,
        listen: node.address,
        dataDirectory: 'data',
        development: true,
        certificates: {
          certificateFile: 'tls/certificate.pem',
          privateKeyFile: 'tls/private-key.pem',
          trustBundleFile: 'tls/trust-bundle.pem',
        },
        product: cluster.product,
        productPort: node.productPort,
        ...(leaseMs === 0 ? {} : { raft: { leaseMs } }),
        ...(snapshotLogBytes === undefined ? {} : { limits: { snapshotLogBytes } }),
        ...(cluster.isEncrypted === true ? { encryption: { kekFile } } : {}),
      };
      if (cluster.isEncrypted === true) await this.#ensureKek(node.nodeId);
      await replaceText(
        this.nodeConfigPath(node.nodeId),
        `${JSON.stringify(config, undefined, 2)}\n`,
        0o644,
      );
    }
  }

  #kekPath(id: number): string {
    return join(this.nodeFolder(id), kekFile);
  }

  /** A KEK is made before anything is encrypted, and never in the place of one that is needed. */
  async #ensureKek(id: number): Promise<void> {
    const ring = join(this.nodeFolder(id), 'data', 'wal', 'keys.json');
    if ((await isThere(this.#kekPath(id))) || (await isThere(ring))) return;
    await createKeyFile(this.#kekPath(id));
  }

  async #writeCluster(cluster: ClusterFile): Promise<void> {
    await replaceText(
      join(this.path, 'cluster.json'),
      `${JSON.stringify(cluster, undefined, 2)}\n`,
      0o644,
    );
  }
}

/** Ports of nodes and products that count up from the given ones. @throws ClustorError `CLUSTOR_INVALID_ARGUMENT` for one that there is not. */
export function checkPorts({
  basePort,
  productPort,
  nodeCount,
}: Pick<NewCluster, 'basePort' | 'productPort' | 'nodeCount'>): void {
  const firstMax = portMax - nodeCount + 1;
  for (const [option, first] of [
    ['--base-port', basePort],
    ['--product-port', productPort],
  ] as const)
    if (first < 1 || first > firstMax)
      throw new ClustorError(
        'CLUSTOR_INVALID_ARGUMENT',
        `${option} takes 1 to ${firstMax} for ${nodeCount} nodes, got ${first}`,
      );
}

/** Where a node of the local cluster in a folder listens, if there is one. */
export async function localAddressOf(folder: string, id: number): Promise<string | undefined> {
  const cluster = await new ClusterDirectory(resolve(folder)).read();
  return cluster?.nodes.find((node) => node.nodeId === id)?.address;
}

/** The three files of a certificate in a folder. */
export function certificatePaths(folder: string): CertificatePaths {
  return {
    certificate: join(folder, 'certificate.pem'),
    privateKey: join(folder, 'private-key.pem'),
    trustBundle: join(folder, 'trust-bundle.pem'),
  };
}

/** The key goes first: a reader that sees the new certificate finds its key; one that sees a mix reads again. */
async function writeCertificate(
  folder: string,
  issued: IssuedCertificate,
  authority: CertificateAuthority,
): Promise<void> {
  await mkdir(folder, { recursive: true });
  const paths = certificatePaths(folder);
  await replaceText(paths.trustBundle, authority.certificatePem, 0o644);
  await replaceText(paths.privateKey, issued.privateKeyPem, 0o600);
  await replaceText(paths.certificate, issued.certificatePem, 0o644);
}

async function replaceText(path: string, text: string, mode: number): Promise<void> {
  const temporary = `${path}.new`;
  await writeFile(temporary, text, { mode, flush: true });
  await chmod(temporary, mode);
  await rename(temporary, path);
}

async function freePorts(count: number): Promise<readonly number[]> {
  const servers = await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise<ReturnType<typeof createServer>>((resolve, reject) => {
          const server = createServer();
          server.once('error', reject);
          server.listen(0, '127.0.0.1', () => {
            resolve(server);
          });
        }),
    ),
  );
  const ports = servers.map((server) => {
    const address = server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  });
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

async function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

function isNotFound(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}
