/** The composition root of a node: the real disk, the real network, the real clock. */
import { ClustorError, messageOf } from './base/errors.ts';
import { clusterId, nodeId, type PartitionId } from './base/ids.ts';
import { createAdminRoutes, principalKey } from './admin/admin-service.ts';
import { createAdminHttp, type AdminHttp } from './platform/admin-http.ts';
import { loadCertificateFiles, type CertificateFiles } from './platform/certificate-files.ts';
import { openCertificateKeeper, type CertificateKeeper } from './platform/certificate-keeper.ts';
import { admitDisk, type DiskPolicy } from './platform/disk-admission.ts';
import { nodeClock } from './platform/node-clock.ts';
import { installPlatformCrc32c } from './platform/node-crc32c.ts';
import { nodeEntropy } from './platform/node-entropy.ts';
import { openNodeFileSystem, type NodeFileSystem } from './platform/node-file-system.ts';
import { openTlsTransport } from './platform/tls-transport.ts';
import { rotateKeysAfterMsMin } from './policy/key-rotation.ts';
import type { FileSystem, IoWriterMode } from './ports/file-system.ts';
import type { KeyProvider } from './ports/key-provider.ts';
import { silentObserver, type Observer } from './ports/observer.ts';
import type { StateMachine } from './ports/state-machine.ts';
import type { RaftSettings } from './raft/index.ts';
import { initializeNode, planPartition, type PartitionPlan } from './runtime/bootstrap.ts';
import type { MerkleLeaves } from './runtime/leaf-gate.ts';
import type { NodeLimits } from './runtime/limits.ts';
import { EvidenceDesk } from './runtime/evidence-desk.ts';
import { ClustorNode } from './runtime/node.ts';
import { parseAddress } from './runtime/node-address.ts';
import { loadBlake3 } from './security/blake3.ts';
import { nodeCryptography } from './security/node-cryptography.ts';
import type { JournalEncryption } from './storage/key-ring.ts';
import type { LogStoreLimits } from './storage/log-store-types.ts';

/** Whether and how a data directory is encrypted. @public */
export type EncryptionOption =
  | {
      readonly keyProvider: KeyProvider;
      /**
       * Age at which keys are made anew by themselves, milliseconds, at least an hour; `never` leaves it to operators.
       * @defaultValue 7 days
       */
      readonly rotateAfterMs?: number | 'never';
    }
  | 'none';

/** What {@link openNode} needs. @public */
export interface OpenNodeOptions {
  /** The node's data directory, created by {@link initializeReplicas}. */
  readonly directory: string;
  /** UUID of the cluster; the certificate must name the same. */
  readonly clusterId: string;
  /** This node's id; the certificate must name the same. */
  readonly nodeId: number;
  /** `host:port` of the TLS port; port 0 takes a free one. */
  readonly listen: string;
  /** `host:port` at which other nodes reach this one. @defaultValue `listen`, if that names one address and port */
  readonly advertise?: string;
  /** PEM files; read again when they are replaced, so that a renewed certificate needs no restart. */
  readonly certificates: CertificateFiles;
  /** Makes the machine of a hosted partition; called once for each. */
  readonly createStateMachine: (partitionId: PartitionId) => StateMachine;
  /** Receives events. @defaultValue drops them */
  readonly observer?: Observer;
  readonly limits?: Partial<NodeLimits>;
  readonly storage?: Partial<LogStoreLimits>;
  readonly raft?: Partial<RaftSettings>;
  /**
   * What to do about a disk that is not safe (tmpfs, network, no barriers): refuse to start unless a `disk_override.json` in the data directory
   * allows it, or only say so (development). @defaultValue `refuse`
   */
  readonly diskPolicy?: DiskPolicy;
  /**
   * Encrypts the journal with keys that the provider wraps; a directory that was encrypted opens with its provider only.
   * @defaultValue 'none'
   */
  readonly encryption?: EncryptionOption;
  /**
   * By which hash entries that this node frames as a leader carry a Merkle leaf of 32 bytes, or `none`. `blake3` is used only
   * while every member has said that it knows it, `sha256` until then.
   * @defaultValue `sha256`
   */
  readonly merkleLeaves?: MerkleLeaves;
  /** How syncs are done; the best one that the disk allows by default. */
  readonly ioWriterMode?: IoWriterMode;
  /** Wraps the disk, for tests that kill the process between two steps. */
  readonly wrapFileSystem?: (fileSystem: FileSystem) => FileSystem;
}

/** Opens a node: locks and recovers its data directory, listens, takes part. @throws ClustorError with what is wrong and what to do. @public */
export async function openNode(options: OpenNodeOptions): Promise<ClustorNode> {
  const observer = options.observer ?? silentObserver;
  // What can be refused without opening anything is refused first: what is open keeps a process alive.
  const { merkleLeaves = 'sha256' } = options;
  demandLeaves(merkleLeaves);
  const listen = parseAddress(options.listen);
  const advertisedAddress = advertisedOf(options);
  await Promise.all([installPlatformCrc32c(), loadBlake3()]);
  const { keeper, disk } = await openKeeperAndDisk(options, observer);
  let admin: AdminHttp | undefined;
  let evidence: EvidenceDesk | undefined;
  const transport = openTlsTransport({
    clock: nodeClock,
    observer,
    keeper,
    listen,
    http: {
      handle: (socket, protocol, peer) => {
        if (admin === undefined) socket.destroy();
        else admin.handle(socket, protocol, peer);
      },
    },
  });
  const closeRest = async (): Promise<void> => {
    keeper.close();
    await Promise.all([admin?.close(), evidence?.close()]);
    await transport.close();
    await disk.shutDown();
  };
  try {
    const { directory, createStateMachine, limits, storage, raft, diskPolicy } = options;
    const policy = diskPolicy ?? 'refuse';
    const wallMs = nodeClock.wallMs();
    const diskReport = await admitDisk({ directory, policy, wallMs, observer });
    const node = await ClustorNode.open({
      directory,
      clusterId: clusterId(options.clusterId),
      nodeId: nodeId(options.nodeId),
      fileSystem: options.wrapFileSystem?.(disk) ?? disk,
      transport,
      clock: nodeClock,
      entropy: nodeEntropy,
      merkleLeaves,
      observer,
      createStateMachine,
      diskReport,
      ...(advertisedAddress === undefined ? {} : { advertisedAddress }),
      ...(limits === undefined ? {} : { limits }),
      ...(storage === undefined ? {} : { storage }),
      ...(raft === undefined ? {} : { raft }),
      cryptography: nodeCryptography,
      encryption: journalEncryption(options.encryption),
    });
    evidence = evidenceDesk(node, { directory, fileSystem: disk });
    admin = createAdminHttp({
      routes: createAdminRoutes({ node, evidence, observer }),
      principalKey,
      observer,
    });
    void node.stopped.then(closeRest).catch((error: unknown) => {
      observer.emit({ level: 'warn', kind: 'closeFailed', fields: { message: messageOf(error) } });
    });
    return node;
  } catch (error) {
    await closeRest();
    throw error;
  }
}

function evidenceDesk(
  node: ClustorNode,
  place: { readonly directory: string; readonly fileSystem: NodeFileSystem },
): EvidenceDesk {
  const keys = (): ClustorNode['journalKeys'] => node.journalKeys;
  return new EvidenceDesk({ ...place, keys, clock: nodeClock, cryptography: nodeCryptography });
}

/** Where types do not look. @throws ClustorError `CLUSTOR_INVALID_ARGUMENT`. */
function demandLeaves(wanted: unknown): void {
  if (wanted === 'sha256' || wanted === 'blake3' || wanted === 'none') return;
  throw new ClustorError(
    'CLUSTOR_INVALID_ARGUMENT',
    `merkleLeaves is sha256, blake3 or none, not ${JSON.stringify(wanted)}`,
  );
}

/** Both, or neither. */
async function openKeeperAndDisk(
  { certificates, ioWriterMode }: OpenNodeOptions,
  observer: Observer,
): Promise<{ readonly keeper: CertificateKeeper; readonly disk: NodeFileSystem }> {
  const keeper = await openCertificateKeeper({
    load: () => loadCertificateFiles(certificates),
    clock: nodeClock,
    observer,
  });
  try {
    const mode = ioWriterMode === undefined ? {} : { mode: ioWriterMode };
    return { keeper, disk: await openNodeFileSystem({ observer, ...mode }) };
  } catch (error) {
    keeper.close();
    throw error;
  }
}

/** What storage encrypts with. @throws ClustorError `CLUSTOR_INVALID_ARGUMENT`. */
export function journalEncryption(
  option: EncryptionOption | undefined,
): JournalEncryption | undefined {
  if (option === undefined || option === 'none') return undefined;
  const { keyProvider, rotateAfterMs } = option;
  const isWrong =
    typeof rotateAfterMs === 'number' &&
    !(Number.isSafeInteger(rotateAfterMs) && rotateAfterMs >= rotateKeysAfterMsMin);
  if (isWrong)
    throw new ClustorError(
      'CLUSTOR_INVALID_ARGUMENT',
      `rotateAfterMs must be a whole number of at least ${rotateKeysAfterMsMin}, or 'never', got ${rotateAfterMs}`,
    );
  return { cryptography: nodeCryptography, keyProvider, rotateAfterMs };
}

/** An address that others can dial as it is: not all interfaces, not a port that is drawn. @throws ClustorError `CLUSTOR_INVALID_ARGUMENT`. */
function advertisedOf({ listen, advertise }: OpenNodeOptions): string | undefined {
  const { host, port } = parseAddress(advertise ?? listen);
  if (port !== 0 && host !== '0.0.0.0' && host !== '::') return advertise ?? listen;
  if (advertise === undefined) return undefined;
  throw new ClustorError(
    'CLUSTOR_INVALID_ARGUMENT',
    `nobody can dial the advertised address "${advertise}"; name a host and a port of it`,
  );
}

/** What the first records of a partition take in the ledger, with what a generation begins with. */
const firstRecordsBytesMax = 8192;

/** What {@link initializeReplicas} needs. @public */
export interface InitializeReplicasOptions {
  readonly directory: string;
  readonly clusterId: string;
  readonly nodeId: number;
  /** The same plans on every member's node. */
  readonly partitions: readonly PartitionPlan[];
  readonly observer?: Observer;
  /** As for {@link openNode}. @defaultValue 'none' */
  readonly encryption?: EncryptionOption;
}

/**
 * Creates this node's replicas of the planned partitions in an empty or existing data directory (specification §1 Identity).
 * May be repeated until it succeeded. @throws ClustorError `CLUSTOR_ALREADY_INITIALIZED`. @public
 */
export async function initializeReplicas(options: InitializeReplicasOptions): Promise<void> {
  const observer = options.observer ?? silentObserver;
  await installPlatformCrc32c();
  const fileSystem = await openNodeFileSystem({ observer });
  try {
    await initializeNode({
      directory: options.directory,
      clusterId: clusterId(options.clusterId),
      nodeId: nodeId(options.nodeId),
      fileSystem,
      clock: nodeClock,
      entropy: nodeEntropy,
      observer,
      partitions: options.partitions,
      encryption: journalEncryption(options.encryption),
      // First records need little room; the node makes files of its own size when it starts.
      storage: {
        segmentBytes: 8 * 1024 * 1024,
        ledgerBytes: Math.max(256 * 1024, options.partitions.length * firstRecordsBytesMax),
      },
    });
  } finally {
    await fileSystem.shutDown();
  }
}

/** A voter to be planned. @public */
export interface PlannedVoter {
  readonly nodeId: number;
  /** `host:port` of the node's TLS port. */
  readonly address: string;
}

/** Plans a partition of voters with fresh incarnations; the plan then goes to {@link initializeReplicas} on every voter's node. @public */
export function planReplicas(
  partition: PartitionId,
  voters: readonly PlannedVoter[],
): PartitionPlan {
  return planPartition(
    partition,
    voters.map((voter) => ({ nodeId: nodeId(voter.nodeId), address: voter.address })),
    nodeEntropy,
  );
}
