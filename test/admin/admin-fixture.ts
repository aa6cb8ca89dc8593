/** Whole nodes on real disks and sockets, with the admin service on their TLS port. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { createAdminRoutes, principalKey } from '../../src/admin/admin-service.ts';
import { nodeId, partitionId, type PartitionId } from '../../src/base/ids.ts';
import type { AdminClient } from '../../src/admin/admin-client.ts';
import { openAdminClient } from '../../src/client/admin.ts';
import {
  createAdminHttp,
  type AdminHttp,
  type AdminHttpLimits,
} from '../../src/platform/admin-http.ts';
import type { CertificateMaterial } from '../../src/platform/certificate-files.ts';
import type { JournalEncryption } from '../../src/storage/key-ring.ts';
import { nodeClock } from '../../src/platform/node-clock.ts';
import { nodeEntropy } from '../../src/platform/node-entropy.ts';
import { openNodeFileSystem } from '../../src/platform/node-file-system.ts';
import type { NodeAddress } from '../../src/ports/transport.ts';
import type { ApplyOutcome, StateMachine } from '../../src/ports/state-machine.ts';
import { initializeNode, planPartition } from '../../src/runtime/bootstrap.ts';
import { EvidenceDesk } from '../../src/runtime/evidence-desk.ts';
import { ClustorNode } from '../../src/runtime/node.ts';
import { issueClientCertificate } from '../../src/security/development-ca.ts';
import { nodeCryptography } from '../../src/security/node-cryptography.ts';
import { Certificates, EventList, home, hourMs, Opened } from '../platform/tls-fixture.ts';

export const partition: PartitionId = partitionId('018c0d6c-9c11-7e9d-8000-86f5bb8c1001');

/** A machine without a state, whose applying a test decides about. */
export function machineThat(
  apply: () => ApplyOutcome | Promise<ApplyOutcome> = () => ({ kind: 'ack' }),
): StateMachine {
  return {
    apply,
    query: () => new Uint8Array(),
    async *snapshot() {},
    restore: () => Promise.resolve(),
  };
}

/** A node that runs, and what it reported. */
export interface RunningNode {
  readonly node: ClustorNode;
  readonly directory: string;
  readonly http: AdminHttp;
  readonly events: EventList;
  readonly address: NodeAddress;
}

/** What a node of a test is made with. */
export interface StartOptions {
  /** Number of voters in the plan; the others are never started. */
  readonly voters?: number;
  readonly machine?: StateMachine;
  readonly limits?: Partial<AdminHttpLimits>;
  readonly encryption?: JournalEncryption;
}

/** Certificates and nodes of one test file. */
export class AdminWorld {
  readonly certificates: Certificates;
  readonly opened = new Opened();

  private constructor(certificates: Certificates) {
    this.certificates = certificates;
  }

  static async create(): Promise<AdminWorld> {
    return new AdminWorld(await Certificates.create());
  }

  /** Starts node 1 of a partition of `voters`. */
  async start(options: StartOptions = {}): Promise<RunningNode> {
    const { voters = 1, machine = machineThat(), limits } = options;
    const events = new EventList();
    const directory = await mkdtemp(join(tmpdir(), 'clustor-admin-'));
    this.opened.onClose(() => rm(directory, { recursive: true, force: true }));
    const fileSystem = await openNodeFileSystem({ observer: events });
    this.opened.onClose(() => fileSystem.shutDown());
    const keeper = await this.opened.keeper(
      this.certificates.material(await this.certificates.node(1)),
    );
    const plan = planPartition(
      partition,
      Array.from({ length: voters }, (_, at) => ({
        nodeId: nodeId(at + 1),
        // Port 9 of loopback: nobody is there.
        address: '127.0.0.1:9',
      })),
      nodeEntropy,
    );
    const parts = {
      directory: join(directory, 'data'),
      clusterId: home,
      nodeId: nodeId(1),
      fileSystem,
      clock: nodeClock,
      entropy: nodeEntropy,
      observer: events,
      encryption: options.encryption,
      cryptography: nodeCryptography,
    };
    await initializeNode({ ...parts, partitions: [plan] });
    const admin: { http?: AdminHttp } = {};
    const transport = this.opened.transport({
      keeper,
      observer: events,
      listen: { host: '127.0.0.1', port: 0 },
      http: { handle: (socket, protocol, peer) => admin.http?.handle(socket, protocol, peer) },
    });
    const node = await ClustorNode.open({
      ...parts,
      transport,
      createStateMachine: () => machine,
    });
    this.opened.onClose(() => node.close());
    const evidence = new EvidenceDesk({ ...parts, keys: () => node.journalKeys });
    this.opened.onClose(() => evidence.close());
    const http = createAdminHttp({
      routes: createAdminRoutes({ node, evidence, observer: events }),
      principalKey,
      observer: events,
      ...(limits === undefined ? {} : { limits }),
    });
    admin.http = http;
    this.opened.onClose(() => http.close());
    return { node, directory: parts.directory, http, events, address: node.address };
  }

  /** What a client with this role presents. */
  async materialOf(role: 'client' | 'operator' | 'observer'): Promise<CertificateMaterial> {
    const issued = await issueClientCertificate({
      authority: this.certificates.authority,
      clusterId: home,
      role,
      name: `a-${role}`,
      wallMs: Date.now(),
      lifetimeMs: hourMs,
    });
    return this.certificates.material(issued);
  }

  /** A client of the admin service, closed with the world. */
  async client(
    address: NodeAddress,
    options: { readonly material?: CertificateMaterial; readonly expected?: number } = {},
  ): Promise<AdminClient> {
    const { material = await this.materialOf('observer'), expected } = options;
    const client = openAdminClient({
      address,
      material,
      ...(expected === undefined ? {} : { expected: nodeId(expected) }),
    });
    this.opened.onClose(() => client.close());
    return client;
  }

  close(): Promise<void> {
    return this.opened.close();
  }
}
