/** The admin service of whoever leads a partition, found anew whenever leadership moves. */
import type { AdminClient, Plain } from '../admin/admin-client.ts';
import type { Partition } from '../admin/generated/clustor/admin/v1/admin_pb.ts';
import { isClustorError, ClustorError } from '../base/errors.ts';
import type { PartitionId } from '../base/ids.ts';
import { openAdminClient } from '../client/admin.ts';
import type { ConnectedClient } from '../client/index.ts';
import type { CertificateMaterial } from '../platform/certificate-files.ts';
import { parseAddress } from '../runtime/node-address.ts';

/** A partition as its leader sees it. */
export type PartitionView = Plain<Partition>;

/** Codes after which the same request goes to whoever leads next. */
const leaderCodes = [
  'CLUSTOR_NOT_LEADER',
  'CLUSTOR_NO_LEADER',
  'CLUSTOR_LEADERSHIP_LOST',
  'CLUSTOR_UNKNOWN_PARTITION',
  'CLUSTOR_NOT_A_MEMBER',
  'CLUSTOR_CLOSED',
] as const;
const retryMs = 100;

/** Whether an error only says that leadership is elsewhere or unsettled. */
export function isLeadershipError(error: unknown): boolean {
  return leaderCodes.some((code) => isClustorError(error, code));
}

/** The error of an attempt behind one whose effect nobody knows: the whole is then unknown, too. */
export function asUncertain(error: unknown): unknown {
  if (!isClustorError(error) || error.outcome === 'unknown') return error;
  const { code, message, details } = error;
  return new ClustorError(code, `${message}; an earlier attempt may have taken effect`, {
    cause: error,
    details,
    outcome: 'unknown',
  });
}

/** See the file comment. */
export class LeaderSession {
  readonly partitionId: PartitionId;
  readonly #client: ConnectedClient;
  readonly #material: CertificateMaterial;
  readonly #admins = new Map<number, AdminClient>();

  constructor(client: ConnectedClient, material: CertificateMaterial, partitionId: PartitionId) {
    this.#client = client;
    this.#material = material;
    this.partitionId = partitionId;
  }

  /** The partition as its leader sees it now; waits for one until `untilMs`. @throws ClustorError `CLUSTOR_NO_LEADER`. */
  async view(untilMs: number): Promise<PartitionView> {
    return this.ask(untilMs, async (admin) => {
      const rows = await admin.listPartitions();
      const row = rows.find((candidate) => candidate.partitionId === this.partitionId);
      if (row?.role === 'leader') return row;
      throw new ClustorError('CLUSTOR_NOT_LEADER', 'the node that was said to lead does not');
    });
  }

  /** Asks the leader, and the next one where leadership moved, until `untilMs`. The error tells the outcome of all attempts. */
  async ask<T>(untilMs: number, run: (admin: AdminClient) => Promise<T>): Promise<T> {
    let isUncertain = false;
    for (;;) {
      try {
        return await run(await this.#leader());
      } catch (error) {
        isUncertain ||= isClustorError(error) && error.outcome === 'unknown';
        if (!isLeadershipError(error) || Date.now() >= untilMs)
          throw isUncertain ? asUncertain(error) : error;
        await new Promise((wake) => setTimeout(wake, retryMs));
      }
    }
  }

  /** Addresses of nodes by id, as far as any node names them. */
  async addressOf(nodeId: number): Promise<string | undefined> {
    const { nodes } = await this.#client.describe();
    return nodes.find((node) => node.nodeId === nodeId)?.address;
  }

  /** Closes what was opened here; the client is its owner's. */
  async close(): Promise<void> {
    await Promise.all([...this.#admins.values()].map((admin) => admin.close()));
  }

  async #leader(): Promise<AdminClient> {
    const { nodes, partitions } = await this.#client.describe();
    const leader = partitions.find((row) => row.partitionId === this.partitionId)?.leaderNodeId;
    const node = nodes.find((row) => row.nodeId === leader);
    if (node === undefined)
      throw new ClustorError(
        'CLUSTOR_NO_LEADER',
        `partition ${this.partitionId} has no leader that any node knows of`,
      );
    let admin = this.#admins.get(node.nodeId);
    if (admin === undefined) {
      const address = parseAddress(node.address);
      admin = openAdminClient({ address, material: this.#material, expected: node.nodeId });
      this.#admins.set(node.nodeId, admin);
    }
    return admin;
  }
}
